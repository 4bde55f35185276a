"""What to tell, to whom, and when: one pure function over what is open and what was found.

Belongs here: alerts, the events that make them up, and the decision. Does not belong here: where
findings come from (`findings`, and the components that know Dagster), where events are kept
(`log`), and how a message leaves (`channels`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["check", "chart", "arrival", "run", "release"]
"""A check that failed; a control chart's point out of control; files that never came or lie aside;
a run that failed; a release that the gate refused."""

Severity = Literal["error", "warning"]
EventName = Literal[
    "opened", "resolved", "acknowledged", "notified", "repeated", "unsent", "settled"
]
"""It was found; it is over; a person knows of it; a channel took the message of it; took it once
more; did not take it; owes it to nobody any more, because its news is gone.
`notified` of an alert that is over says that the channel knows that, too."""

Phase = Literal["open", "resolved"]
State = Literal["new", "more", "still", "resolved"]
"""Why an alert stands in a message: the channel does not know of it; it has grown; it is time to
say it again; it is over."""


@dataclass(frozen=True, order=True)
class Identity:
    """What makes two findings the same alert.

    Attributes:
        product: The product, or `platform`.
        kind: What went wrong.
        subject: The check (`asset.check`), the step that failed (the job where none did), or the
            release.
    """

    product: str
    kind: Kind
    subject: str


@dataclass(frozen=True)
class Finding:
    """Something that is wrong now.

    Attributes:
        identity: Which alert it is.
        severity: Whether it holds back a release or a run, or only warns.
        summary: What a person needs to know, on one line.
        link: Where the UI shows it.
        news: What an open alert is told again for where it was not told before: a day that came to
            fail too, a file that never came.
    """

    identity: Identity
    severity: Severity
    summary: str
    link: str
    news: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Evidence:
    """What was found, and what could not be judged.

    Attributes:
        findings: Everything that is wrong now, once each.
        unjudged: Alerts of which nothing is known now: they stay as they are.
    """

    findings: tuple[Finding, ...]
    unjudged: frozenset[Identity] = frozenset()


@dataclass(frozen=True)
class Told:
    """What a channel knows of an alert.

    Attributes:
        at: When it last took a message of it.
        phase: Whether that said that it is open or over.
        news: What of its news it knows.
    """

    at: dt.datetime
    phase: Phase
    news: frozenset[str]


@dataclass(frozen=True)
class Acknowledged:
    """That a person knows of an open alert.

    Attributes:
        at: When it was said, in UTC without a zone.
        reason: Why it may stand for now.
        news: The news that the person knew of.
    """

    at: dt.datetime
    reason: str
    news: frozenset[str]


@dataclass(frozen=True)
class Alert:
    """An alert: open, or over and perhaps not told everywhere.

    Attributes:
        finding: What was found last.
        opened_at: When it was found, in UTC without a zone.
        resolved_at: When it was over; None while it is open.
        owing: The channels that were there when it was over: each is to hear of it.
        told: What each channel knows.
        unsent: Why a channel did not take the newest message of it, as long as it is owed.
        acknowledged: Who knows of it is told of what is new and of its end, but not again.
    """

    finding: Finding
    opened_at: dt.datetime
    resolved_at: dt.datetime | None = None
    owing: frozenset[str] = frozenset()
    told: Mapping[str, Told] = field(default_factory=dict)
    unsent: Mapping[str, str] = field(default_factory=dict)
    acknowledged: Acknowledged | None = None

    @property
    def identity(self) -> Identity:
        """Which alert it is."""
        return self.finding.identity

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.resolved_at is None

    def owes(self, channel: str) -> bool:
        """Whether it is over and the channel has yet to hear of that."""
        known = self.told.get(channel)
        return channel in self.owing and (known is None or known.phase == "open")


@dataclass(frozen=True)
class AlertEvent:
    """One event of an alert's history.

    Attributes:
        finding: What was found at that time.
        name: What happened.
        at: When, in UTC without a zone.
        channel: The channel it is about; empty for `opened`, `resolved` and `acknowledged`.
        phase: What the channel was told.
        channels: The channels there were when it was over.
        reason: Why a channel did not take a message, without its address; or why an alert that a
            person knows of may stand.
    """

    finding: Finding
    name: EventName
    at: dt.datetime
    channel: str = ""
    phase: Phase = "open"
    channels: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Channel:
    """A way to people, by name: its address holds secrets.

    Attributes:
        name: Its scheme and its place among those of that scheme, such as `mailtos-1`.
        failures: How often in a row it did not take a message.
        attempted_at: When one was last tried.
        error: Why it did not take the last one, without its address.
    """

    name: str
    failures: int = 0
    attempted_at: dt.datetime | None = None
    error: str = ""


@dataclass(frozen=True)
class Policy:
    """How often things are said.

    Attributes:
        repeat: How long an open alert is not said again.
        first_back_off: How long a channel that failed once is left alone; doubled each time.
        longest_back_off: The most it is left alone.
    """

    repeat: dt.timedelta = dt.timedelta(hours=24)
    first_back_off: dt.timedelta = dt.timedelta(minutes=1)
    longest_back_off: dt.timedelta = dt.timedelta(hours=1)

    def next_attempt(self, failures: int, attempted_at: dt.datetime | None) -> dt.datetime | None:
        """When what failed so often in a row may be tried again; None for at once."""
        if not failures or attempted_at is None:
            return None
        return attempted_at + min(
            self.first_back_off * 2 ** min(failures - 1, 16), self.longest_back_off
        )


@dataclass(frozen=True)
class Notice:
    """An alert in a message, and why it stands there."""

    state: State
    alert: Alert


@dataclass(frozen=True)
class Message:
    """What one channel is told of one product in one tick.

    Attributes:
        channel: The channel's name.
        product: The product.
        notices: Everything there is to tell, at least one.
    """

    channel: str
    product: str
    notices: tuple[Notice, ...]

    def taken(self, at: dt.datetime) -> list[AlertEvent]:
        """The events of a message that the channel took."""
        return [
            AlertEvent(
                notice.alert.finding,
                "repeated" if notice.state == "still" else "notified",
                at,
                self.channel,
                "resolved" if notice.state == "resolved" else "open",
            )
            for notice in self.notices
        ]

    def refused(self, at: dt.datetime, reason: str) -> list[AlertEvent]:
        """The events of a message that the channel did not take: said once until it takes one."""
        return [
            AlertEvent(notice.alert.finding, "unsent", at, self.channel, reason=reason)
            for notice in self.notices
            if self.channel not in notice.alert.unsent
        ]


@dataclass(frozen=True)
class Decision:
    """What follows from a look.

    Attributes:
        events: What came to be open and what is over, to be kept before anything is sent.
        messages: What to send.
        alerts: The alerts with those events.
    """

    events: tuple[AlertEvent, ...]
    messages: tuple[Message, ...]
    alerts: tuple[Alert, ...]


def decide(
    alerts: Iterable[Alert],
    evidence: Evidence,
    channels: Sequence[Channel],
    now: dt.datetime,
    policy: Policy,
) -> Decision:
    """Decide what is open, what is over, and what to tell.

    Args:
        alerts: The alerts so far, once each, as `fold` gives them.
        evidence: What was found now.
        channels: The channels there are, with how they did lately.
        now: This moment, in UTC without a zone.
        policy: How often things are said.
    """
    standing = {alert.identity: alert for alert in alerts}
    events: list[AlertEvent] = []
    found = {finding.identity: finding for finding in evidence.findings}
    for identity, finding in found.items():
        alert = standing.get(identity)
        if alert is None or not alert.is_open:
            events.append(AlertEvent(finding, "opened", now))
            standing[identity] = Alert(finding, now)
        else:
            standing[identity] = replace(alert, finding=finding)
    names = tuple(channel.name for channel in channels)
    for identity, alert in standing.items():
        if alert.is_open and identity not in found and identity not in evidence.unjudged:
            events.append(AlertEvent(alert.finding, "resolved", now, channels=names))
            standing[identity] = replace(alert, resolved_at=now, owing=frozenset(names))
    # What a channel did not take may be gone since, so that nothing is owed any more.
    events += [
        AlertEvent(alert.finding, "settled", now, name)
        for alert in standing.values()
        for name in alert.unsent
        if name in alert.told and _state(name, alert, now, policy) is None
    ]
    messages = [
        message
        for channel in channels
        if not is_backing_off(channel, now, policy)
        for message in _messages(channel.name, standing.values(), now, policy)
    ]
    return Decision(tuple(events), tuple(messages), tuple(standing.values()))


def is_backing_off(channel: Channel, now: dt.datetime, policy: Policy) -> bool:
    """Whether a channel that failed is to be left alone for now."""
    again = policy.next_attempt(channel.failures, channel.attempted_at)
    return again is not None and now < again


def next_due(
    alerts: Iterable[Alert], channels: Sequence[Channel], now: dt.datetime, policy: Policy
) -> dt.datetime | None:
    """When there is something to tell although nothing changes; None for never."""
    alerts = list(alerts)
    moments: list[dt.datetime] = []
    for channel in channels:
        again = policy.next_attempt(channel.failures, channel.attempted_at)
        for alert in alerts:
            state = _state(channel.name, alert, now, policy)
            known = alert.told.get(channel.name)
            if state is not None:
                moments.append(again or now)
            elif alert.is_open and known is not None and alert.acknowledged is None:
                moments.append(max(known.at + policy.repeat, again or now))
    return min(moments, default=None)


def _messages(
    channel: str, alerts: Collection[Alert], now: dt.datetime, policy: Policy
) -> list[Message]:
    """One message per product with everything that a channel is to be told of it."""
    notices: dict[str, list[Notice]] = {}
    for alert in sorted(alerts, key=lambda alert: alert.identity):
        state = _state(channel, alert, now, policy)
        if state is not None:
            notices.setdefault(alert.identity.product, []).append(Notice(state, alert))
    return [Message(channel, product, tuple(of)) for product, of in notices.items()]


def _state(channel: str, alert: Alert, now: dt.datetime, policy: Policy) -> State | None:
    """Why a channel is to be told of an alert; None where it is not."""
    if not alert.is_open:
        return "resolved" if alert.owes(channel) else None
    known = alert.told.get(channel)
    if alert.acknowledged is not None:
        heard = alert.acknowledged.news | (known.news if known else frozenset())
        return "more" if alert.finding.news - heard else None
    if known is None:
        return "new"
    if alert.finding.news - known.news:
        return "more"
    return "still" if now - known.at >= policy.repeat else None


def fold(events: Iterable[AlertEvent]) -> list[Alert]:
    """The alerts that events make up: of each, what happened since it was last opened.

    Events may come twice, which changes nothing.
    """
    alerts: dict[Identity, Alert] = {}
    order = {"opened": 0, "resolved": 1}
    for event in sorted(events, key=lambda event: (event.at, order.get(event.name, 2))):
        identity = event.finding.identity
        alert = alerts.get(identity)
        if event.name == "opened":
            if alert is None or alert.opened_at != event.at:
                alerts[identity] = Alert(event.finding, event.at)
            continue
        if alert is None:
            continue
        if event.name == "resolved":
            alert = replace(alert, resolved_at=event.at, owing=frozenset(event.channels))
        elif event.name == "acknowledged":
            known = Acknowledged(event.at, event.reason, event.finding.news)
            alert = replace(alert, acknowledged=known)
        elif event.name == "unsent":
            alert = replace(alert, unsent={**alert.unsent, event.channel: event.reason})
        elif event.name == "settled":
            unsent = {name: why for name, why in alert.unsent.items() if name != event.channel}
            alert = replace(alert, finding=event.finding, unsent=unsent)
        else:
            before = alert.told.get(event.channel)
            news = event.finding.news | (before.news if before else frozenset())
            told = Told(event.at, event.phase, news)
            unsent = {name: why for name, why in alert.unsent.items() if name != event.channel}
            alert = replace(
                alert,
                finding=event.finding,
                told={**alert.told, event.channel: told},
                unsent=unsent,
            )
        alerts[identity] = alert
    return list(alerts.values())
