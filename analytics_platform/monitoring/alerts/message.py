"""The words of a message: a title with the severity, and a line with a link for each alert.

Belongs here: text. Does not belong here: which alerts stand in a message (`decide`).
"""

from __future__ import annotations

from collections import Counter

from analytics_platform.monitoring.alerts.decide import Message, Notice, State

SHOWN = 30
LONGEST_LINE = 300
_HEADINGS: dict[State, str] = {
    "new": "New",
    "more": "More of what is open",
    "still": "Still open",
    "resolved": "Over",
}
_COUNTED: dict[State, str] = {
    "new": "new",
    "more": "grown",
    "still": "still open",
    "resolved": "resolved",
}


def title(message: Message, environment: str) -> str:
    """The title: how bad it is, of which product, and how many alerts of each sort."""
    open_ones = [notice for notice in message.notices if notice.state != "resolved"]
    severities = {notice.alert.finding.severity for notice in open_ones}
    worst = "error" if "error" in severities else "warning" if open_ones else "resolved"
    counts = Counter(notice.state for notice in message.notices)
    said = ", ".join(f"{counts[state]} {word}" for state, word in _COUNTED.items() if counts[state])
    where = "" if environment == "local" else f" ({environment})"
    return f"[{worst}] {message.product}{where}: {said}"


def body(message: Message) -> str:
    """The text: new alerts first, each with what it is, since when, and where the UI shows it."""
    lines: list[str] = []
    left = SHOWN
    for state, heading in _HEADINGS.items():
        notices = [notice for notice in message.notices if notice.state == state]
        notices.sort(key=lambda notice: notice.alert.finding.severity)
        if not notices or not left:
            continue
        lines += ["", heading] if lines else [heading]
        for notice in notices[:left]:
            lines += _lines(notice)
        left -= len(notices[:left])
    unseen = len(message.notices) - (SHOWN - left)
    if unseen:
        lines += ["", f"… and {unseen} more: ap alerts list {message.product}"]
    return "\n".join(lines)


def _lines(notice: Notice) -> list[str]:
    alert, finding = notice.alert, notice.alert.finding
    since = f"since {alert.opened_at:%Y-%m-%d %H:%M} UTC"
    if alert.resolved_at is not None:
        since += f", over {alert.resolved_at:%Y-%m-%d %H:%M} UTC"
    return [
        f"- {finding.severity}: {one_line(finding.identity.subject)}",
        f"  {one_line(finding.summary)} ({since})",
        f"  {finding.link}",
    ]


def one_line(text: str) -> str:
    """A text on one line that is not too long and cannot move a cursor."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    plain = " ".join(plain.split())
    return plain if len(plain) <= LONGEST_LINE else plain[: LONGEST_LINE - 1] + "…"
