"""One look of the alerter: judge, keep, send, keep what was sent, and say that it is alive.

Belongs here: the order of these. Does not belong here: any of them.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analytics_platform.lake import Lake, records
from analytics_platform.monitoring.alerts import channels as ways
from analytics_platform.monitoring.alerts.channels import Delivery, Outgoing, Send, channels_of
from analytics_platform.monitoring.alerts.decide import (
    Alert,
    AlertEvent,
    Channel,
    Evidence,
    Message,
    Policy,
    decide,
    is_backing_off,
    next_due,
)
from analytics_platform.monitoring.alerts.log import HEARTBEAT, AlerterState, AlertLog
from analytics_platform.monitoring.alerts.message import body, title
from analytics_platform.settings import Settings

logger = logging.getLogger(__name__)

Look = Callable[[Sequence[Alert]], Evidence]
"""Given the alerts so far, what is wrong now."""


@dataclass(frozen=True)
class TickReport:
    """What one look did.

    Attributes:
        opened: How many alerts came to be open.
        resolved: How many are over.
        taken: How many messages channels took.
        errors: Which channels did not take theirs and why, without their addresses.
        due: When there is something to do although nothing changes; None for never.
    """

    opened: int
    resolved: int
    taken: int
    errors: tuple[str, ...]
    due: dt.datetime | None

    def text(self) -> str:
        """The report on one line."""
        said = f"{self.opened} opened, {self.resolved} resolved, {self.taken} messages sent"
        return said + "".join(f"; {error}" for error in self.errors)


def policy_of(settings: Settings) -> Policy:
    """How often things are said, by the settings."""
    return Policy(repeat=dt.timedelta(hours=settings.alert_repeat_hours))


def tick(
    lake: Lake,
    look: Look,
    settings: Settings,
    *,
    send: Send = ways.send,
    now: Callable[[], dt.datetime] = records.now,
) -> TickReport:
    """Look once and tell what there is to tell.

    A channel that fails, however it does, is logged and kept, and tried again later.

    Args:
        lake: The environment's lake.
        look: Gives what is wrong now.
        settings: Which channels there are, and how often things are said.
        send: Sends messages.
        now: Gives this moment, in UTC without a zone.

    Raises:
        WriterBusyError: If another look is at work, which tells the same.
    """
    log = AlertLog(lake)
    policy = policy_of(settings)
    urls = channels_of(settings.alert_urls.get_secret_value())
    with log.turn.held("tell alerts"):
        moment = now()
        state = log.state()
        alerts = log.alerts(state)
        known = [state.channels.get(name, Channel(name)) for name in urls]
        decision = decide(alerts, look(alerts), known, moment, policy)
        # Kept before anything is sent: what was found is not lost with the process.
        log.append(state, decision.events)
        outgoing = [_outgoing(message, settings) for message in decision.messages]
        deliveries = send(urls, outgoing) if outgoing else []
        taken = _keep(log, state, decision.messages, deliveries, moment)
        errors = [
            f"{name}: {state.channels[name].error}"
            for name in urls
            if name in state.channels and state.channels[name].failures
        ]
        _beat(state, settings, moment, policy, send, is_failing=bool(errors))
        if state.beat.failures:
            errors.append(f"{HEARTBEAT}: {state.beat.error}")
        state.ticked_at = moment
        log.save(state)
        after = log.alerts(state) if decision.events or deliveries else alerts
        return TickReport(
            opened=sum(event.name == "opened" for event in decision.events),
            resolved=sum(event.name == "resolved" for event in decision.events),
            taken=taken,
            errors=tuple(errors),
            due=_due(after, state, urls, settings, moment, policy),
        )


def note_look(lake: Lake) -> None:
    """Say that the alerter looked and that nothing had changed."""
    log = AlertLog(lake)
    with log.turn.held("note a look"):
        state = log.state()
        state.ticked_at = records.now()
        log.save(state)


def acknowledge(
    lake: Lake,
    product: str,
    subject: str,
    reason: str,
    *,
    now: Callable[[], dt.datetime] = records.now,
) -> list[Alert]:
    """Note that a person knows of open alerts: they are not said again until something is new.

    Args:
        lake: The environment's lake.
        product: Their product, or `platform`.
        subject: Their subject, such as `asset.check`.
        reason: Why they may stand for now.
        now: Gives this moment, in UTC without a zone.

    Returns:
        The alerts; none where no such one is open.

    Raises:
        WriterBusyError: If a look is at work.
    """
    log = AlertLog(lake)
    with log.turn.held("acknowledge alerts"):
        state = log.state()
        known = [
            alert
            for alert in log.alerts(state)
            if alert.is_open
            and alert.identity.product == product
            and alert.identity.subject == subject
        ]
        moment = now()
        log.append(
            state, [AlertEvent(one.finding, "acknowledged", moment, reason=reason) for one in known]
        )
        return known


def _outgoing(message: Message, settings: Settings) -> Outgoing:
    headline = title(message, settings.environment)
    severity = headline.partition("]")[0].strip("[")
    return Outgoing(message.channel, headline, body(message), severity)


def _keep(
    log: AlertLog,
    state: AlerterState,
    messages: Sequence[Message],
    deliveries: Sequence[Delivery],
    moment: dt.datetime,
) -> int:
    """Keep what became of each message; gives how many were taken."""
    events: list[AlertEvent] = []
    results: dict[str, Channel] = {}
    taken = 0
    # The deliveries of a channel come in the order of its messages.
    waiting = {name: iter([m for m in messages if m.channel == name])
               for name in {m.channel for m in messages}}  # fmt: skip
    for delivery in deliveries:
        name = delivery.outgoing.channel
        message = next(waiting[name])
        before = results.get(name) or state.channels.get(name) or Channel(name)
        if delivery.was_taken:
            taken += 1
            events += message.taken(moment)
            results[name] = Channel(name, 0, moment)
        elif delivery.was_tried:
            logger.warning("Alerts: %s did not take a message: %s", name, delivery.reason)
            events += message.refused(moment, delivery.reason)
            results[name] = Channel(name, before.failures + 1, moment, delivery.reason)
    state.channels |= results
    log.append(state, events)
    return taken


def _beat(
    state: AlerterState,
    settings: Settings,
    moment: dt.datetime,
    policy: Policy,
    send: Send,
    *,
    is_failing: bool,
) -> None:
    """Say that the alerter is alive, when it is time to and its channels work.

    While a channel does not take messages it is as good as dead, and silence says so.
    """
    if settings.alert_heartbeat_url is None or is_failing:
        return
    every = dt.timedelta(hours=settings.alert_heartbeat_hours)
    if state.beat_at is not None and moment - state.beat_at < every:
        return
    if is_backing_off(state.beat, moment, policy):
        return
    url = settings.alert_heartbeat_url.get_secret_value()
    if url.lower().startswith(("http://", "https://")):
        reason = ways.ping(url)
    else:
        text = f"The alerter of {settings.environment} looked at {moment:%Y-%m-%d %H:%M} UTC."
        sent = send({HEARTBEAT: url}, [Outgoing(HEARTBEAT, "Alerts: heartbeat", text, "info")])
        reason = sent[0].reason
    if reason:
        logger.warning("Alerts: the heartbeat was not taken: %s", reason)
        state.beat = Channel(HEARTBEAT, state.beat.failures + 1, moment, reason)
    else:
        state.beat_at, state.beat = moment, Channel(HEARTBEAT, 0, moment)


def _due(
    alerts: Sequence[Alert],
    state: AlerterState,
    urls: Sequence[str] | dict[str, str],
    settings: Settings,
    moment: dt.datetime,
    policy: Policy,
) -> dt.datetime | None:
    channels = [state.channels.get(name, Channel(name)) for name in urls]
    moments = [next_due(alerts, channels, moment, policy)]
    if state.pending:
        moments.append(moment)
    if settings.alert_heartbeat_url is not None:
        every = dt.timedelta(hours=settings.alert_heartbeat_hours)
        again = policy.next_attempt(state.beat.failures, state.beat.attempted_at)
        moments.append(again or (moment if state.beat_at is None else state.beat_at + every))
    return min((due for due in moments if due is not None), default=None)


def send_test(settings: Settings, send: Send = ways.send) -> list[Delivery]:
    """Send each channel a test message."""
    urls = channels_of(settings.alert_urls.get_secret_value())
    text = f"A test of the alerts of {settings.environment}. Links lead to {settings.ui_url}"
    return send(urls, [Outgoing(name, "Alerts: test", text, "info") for name in urls])
