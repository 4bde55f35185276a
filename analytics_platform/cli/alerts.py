"""`ap alerts`: what is open, whether the alerter lives, and whether its messages arrive."""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from analytics_platform.cli.terminal import console, fail
from analytics_platform.settings import get_settings

if TYPE_CHECKING:
    from analytics_platform.lake import Lake
    from analytics_platform.monitoring.alerts import Alert, AlerterState

app = typer.Typer(help="What is wrong, and who was told.", no_args_is_help=True)

SHOWN = 40
Format = Literal["table", "csv", "json"]


@app.command("list")
def list_alerts(
    product: Annotated[
        str | None, typer.Argument(help="Only this product's, or `platform`.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    output_format: Annotated[
        Format, typer.Option("--format", "-f", help="csv and json give every column.")
    ] = "table",
) -> None:
    """Say what is open, since when, and which channels were told."""
    alerts, _ = _read()
    alerts = [
        alert
        for alert in alerts
        if (everything or alert.is_open) and product in (None, alert.identity.product)
    ]
    alerts.sort(key=lambda alert: (alert.is_open, alert.opened_at), reverse=True)
    rows = [_row(alert) for alert in alerts]
    if output_format == "json":
        sys.stdout.write(json.dumps(rows, default=str) + "\n")
    elif output_format == "csv":
        import polars as pl

        schema = pl.Schema({name: pl.String() for name in _COLUMNS})
        frame = pl.DataFrame([{name: _cell(row[name]) for name in row} for row in rows], schema)
        sys.stdout.write(frame.write_csv())
    else:
        _print(rows)


@app.command()
def acknowledge(
    product: Annotated[str, typer.Argument(help="The alert's product, or `platform`.")],
    subject: Annotated[str, typer.Argument(help="Its subject, as `ap alerts list` shows it.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why it may stand for now.")],
) -> None:
    """Say that you know of an open alert: it is told again only when something is new, or over."""
    from analytics_platform.lake import WriterBusyError
    from analytics_platform.monitoring import alerts

    if not reason.strip():
        raise fail("A reason is needed: others will ask why it may stand.")
    try:
        known = alerts.acknowledge(_lake(), product, subject, reason)
    except WriterBusyError as busy:
        raise fail(str(busy)) from busy
    if not known:
        identities = [one.identity for one in _read()[0] if one.is_open]
        standing = ", ".join(sorted(f"{one.product} {one.subject}" for one in identities))
        raise fail(f"No open alert of {product} is {subject!r}; open are: {standing or 'none'}.")
    for alert in known:
        console.print(f"{product} · {alert.identity.subject} is acknowledged.", highlight=False)


@app.command()
def status() -> None:
    """Say when the alerter last looked, how its channels do, and what it has yet to tell."""
    from analytics_platform.monitoring.alerts import channels_of

    settings = get_settings()
    alerts, state = _read()
    console.print(f"Last look: {_ago(state.ticked_at)}", highlight=False)
    names = channels_of(settings.alert_urls.get_secret_value())
    if not names:
        console.print(
            "No channel: set AP_ALERT_URLS to apprise URLs. Alerts are kept and shown by "
            "`ap alerts list`.",
            highlight=False,
        )
    for name in names:
        channel = state.channels.get(name)
        if channel is None or channel.attempted_at is None:
            said = "nothing sent yet"
        elif channel.failures:
            said = (
                f"failed {channel.failures} times in a row, last {_ago(channel.attempted_at)}: "
                f"{channel.error}"
            )
        else:
            said = f"took its last message {_ago(channel.attempted_at)}"
        style = "red" if channel is not None and channel.failures else None
        console.print(f"{name}: {said}", style=style, markup=False, highlight=False)
    if settings.alert_heartbeat_url is None:
        console.print("No heartbeat: set AP_ALERT_HEARTBEAT_URL.", highlight=False)
    else:
        failing = f", then failed: {state.beat.error}" if state.beat.failures else ""
        console.print(f"Heartbeat: {_ago(state.beat_at)}{failing}", markup=False, highlight=False)
    open_ones = [alert for alert in alerts if alert.is_open]
    untold = [alert for alert in alerts if any(_owed(alert, name) for name in names)]
    console.print(f"{len(open_ones)} open, {len(untold)} yet to be told", highlight=False)


@app.command()
def test() -> None:
    """Send a test message to every channel and say which took it."""
    from analytics_platform.monitoring.alerts import send_test

    deliveries = send_test(get_settings())
    if not deliveries:
        raise fail("No channel: set AP_ALERT_URLS to apprise URLs, parted by commas or spaces.")
    for delivery in deliveries:
        name = delivery.outgoing.channel
        if delivery.was_taken:
            console.print(f"{name}: taken", highlight=False)
        else:
            console.print(f"{name}: {delivery.reason}", style="red", markup=False, highlight=False)
    if not all(delivery.was_taken for delivery in deliveries):
        raise typer.Exit(1)


_COLUMNS = (
    "product", "kind", "subject", "state", "severity", "summary", "link", "opened_at",
    "resolved_at", "told", "unsent", "acknowledged_at", "reason",
)  # fmt: skip


def _lake() -> Lake:
    from analytics_platform.lake import Lake

    lake = Lake.from_settings(get_settings())
    if not lake.exists:
        raise fail(f"There is no lake in {lake.folder} yet. Run a product first.")
    return lake


def _read() -> tuple[list[Alert], AlerterState]:
    from analytics_platform.monitoring.alerts import AlertLog

    log = AlertLog(_lake())
    state = log.state()
    return log.alerts(state), state


def _owed(alert: Alert, channel: str) -> bool:
    return (alert.is_open and channel not in alert.told) or alert.owes(channel)


def _row(alert: Alert) -> dict[str, Any]:
    finding = alert.finding
    return {
        "product": alert.identity.product,
        "kind": alert.identity.kind,
        "subject": alert.identity.subject,
        "state": "open" if alert.is_open else "resolved",
        "severity": finding.severity,
        "summary": finding.summary,
        "link": finding.link,
        "opened_at": alert.opened_at,
        "resolved_at": alert.resolved_at,
        "told": {name: told.at for name, told in alert.told.items()},
        "unsent": dict(alert.unsent),
        "acknowledged_at": alert.acknowledged and alert.acknowledged.at,
        "reason": alert.acknowledged and alert.acknowledged.reason,
    }


def _cell(value: Any) -> str | None:
    if isinstance(value, dict):
        return json.dumps(value, default=str) if value else None
    return None if value is None else str(value)


def _print(rows: list[dict[str, Any]]) -> None:
    for row in rows[:SHOWN]:
        colour = {"error": "red", "warning": "yellow"}[row["severity"]]
        style = colour if row["state"] == "open" else "dim"
        told = ", ".join(row["told"]) or "nobody"
        over = f", over {row['resolved_at']:%Y-%m-%d %H:%M}" if row["resolved_at"] else ""
        lines = [
            f"{row['severity']}: {row['product']} · {row['subject']}",
            f"  {row['summary']}",
            f"  since {row['opened_at']:%Y-%m-%d %H:%M} UTC{over}; told: {told}",
            *(f"  not sent to {name}: {why}" for name, why in row["unsent"].items()),
            *(
                [f"  acknowledged {row['acknowledged_at']:%Y-%m-%d %H:%M}: {row['reason']}"]
                if row["acknowledged_at"]
                else []
            ),
            f"  {row['link']}",
        ]
        console.print(lines[0], style=style, markup=False, highlight=False, soft_wrap=True)
        for line in lines[1:]:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    more = len(rows) - SHOWN
    said = f"{len(rows)} alerts" + (f", the newest {SHOWN} shown" if more > 0 else "")
    console.print(said, highlight=False)


def _ago(moment: dt.datetime | None) -> str:
    if moment is None:
        return "never"
    from analytics_platform.lake import records

    minutes = (records.now() - moment).total_seconds() / 60
    said = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
    return f"{moment:%Y-%m-%d %H:%M} UTC, {said} ago"
