"""The decision, played out over whole histories, against what the people told would believe."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_platform.monitoring.alerts.decide import (
    AlertEvent,
    Channel,
    Evidence,
    Finding,
    Identity,
    Message,
    Policy,
    decide,
    fold,
    is_backing_off,
    next_due,
)
from analytics_platform.monitoring.alerts.message import body, title

START = dt.datetime.fromisoformat("2013-02-08T06:00")
POLICY = Policy(repeat=dt.timedelta(hours=24))
NAMES = ("mailtos-1", "json-1")

IDENTITIES = [
    Identity(product, kind, subject)
    for product in ("flights", "weather")
    for kind, subject in (("check", "fct.unique"), ("run", "daily"))
]


def finding(identity: Identity, news: frozenset[str] = frozenset()) -> Finding:
    severity = "error" if identity.kind == "run" else "warning"
    return Finding(identity, severity, f"{identity.subject} is wrong", "http://ui/x", news)


@dataclass(frozen=True)
class Step:
    """A look: how long after the last, what was wrong, and which channels worked."""

    after: dt.timedelta
    wrong: dict[Identity, frozenset[str]]
    working: frozenset[str]


@dataclass
class World:
    """The alerter's memory, and what each channel's people were told and when."""

    now: dt.datetime = START
    events: list[AlertEvent] = field(default_factory=list)
    channels: dict[str, Channel] = field(
        default_factory=lambda: {name: Channel(name) for name in NAMES}
    )
    believed: dict[str, set[Identity]] = field(default_factory=lambda: {n: set() for n in NAMES})
    told_at: dict[tuple[str, Identity], dt.datetime] = field(default_factory=dict)

    def look(self, step: Step) -> tuple[Message, ...]:
        self.now += step.after
        evidence = Evidence(tuple(finding(i, news) for i, news in step.wrong.items()))
        channels = list(self.channels.values())
        decision = decide(fold(self.events), evidence, channels, self.now, POLICY)
        self.events += decision.events
        # Grouped: one message per channel and product, and nothing empty.
        keys = [(message.channel, message.product) for message in decision.messages]
        assert len(keys) == len(set(keys))
        for message in decision.messages:
            assert message.notices
            assert {n.alert.identity.product for n in message.notices} == {message.product}
            assert not is_backing_off(self.channels[message.channel], self.now, POLICY)
        failed: set[str] = set()
        for message in decision.messages:
            # As `send` does: after one that was not taken, the rest of a channel waits.
            if message.channel not in failed:
                self._send(message, works=message.channel in step.working)
            if message.channel not in step.working:
                failed.add(message.channel)
        return decision.messages

    def _send(self, message: Message, *, works: bool) -> None:
        channel = self.channels[message.channel]
        if not works:
            self.events += message.refused(self.now, "down")
            self.channels[channel.name] = replace(
                channel, failures=channel.failures + 1, attempted_at=self.now
            )
            return
        self.events += message.taken(self.now)
        self.channels[channel.name] = Channel(channel.name, 0, self.now)
        for notice in message.notices:
            key = (channel.name, notice.alert.identity)
            if notice.state == "still":
                assert self.now - self.told_at[key] >= POLICY.repeat
            if notice.state in {"new", "more", "still"}:
                self.believed[channel.name].add(notice.alert.identity)
                self.told_at[key] = self.now
            else:
                self.believed[channel.name].discard(notice.alert.identity)


news = st.frozensets(st.sampled_from(["2013-02-08", "2013-02-09"]))
steps = st.builds(
    Step,
    after=st.timedeltas(dt.timedelta(seconds=1), dt.timedelta(hours=30)),
    wrong=st.dictionaries(st.sampled_from(IDENTITIES), news),
    working=st.frozensets(st.sampled_from(NAMES)),
)
LONGER_THAN_ANY_BACK_OFF = POLICY.longest_back_off + dt.timedelta(seconds=1)


@given(st.lists(steps, max_size=12))
@settings(max_examples=150, deadline=None)
def test_whatever_fails_meanwhile_people_end_up_believing_what_is_true(history: list[Step]) -> None:
    world = World()
    for step in history:
        world.look(step)
    wrong = history[-1].wrong if history else {}
    world.look(Step(LONGER_THAN_ANY_BACK_OFF, wrong, frozenset(NAMES)))
    assert all(believed == set(wrong) for believed in world.believed.values())
    assert not any(alert.unsent for alert in fold(world.events) if alert.is_open)

    world.look(Step(LONGER_THAN_ANY_BACK_OFF, {}, frozenset(NAMES)))
    assert not any(alert.is_open for alert in fold(world.events))
    assert all(not believed for believed in world.believed.values())
    # Nothing is owed: there is no more to say, now or later.
    assert world.look(Step(dt.timedelta(days=30), {}, frozenset(NAMES))) == ()
    channels = list(world.channels.values())
    assert next_due(fold(world.events), channels, world.now, POLICY) is None


@given(st.lists(steps, max_size=12))
@settings(max_examples=150, deadline=None)
def test_nothing_is_said_twice_within_the_repeat_unless_there_is_news(history: list[Step]) -> None:
    world = World()
    last: dict[tuple[str, Identity], tuple[dt.datetime, dt.datetime, frozenset[str]]] = {}
    for step in history:
        for message in world.look(replace(step, working=frozenset(NAMES))):
            for notice in message.notices:
                if notice.state == "resolved":
                    continue
                key = (message.channel, notice.alert.identity)
                before = last.get(key)
                known: frozenset[str] = frozenset()
                if before is not None and before[1] == notice.alert.opened_at:
                    known = before[2]
                    grown = notice.alert.finding.news - known
                    assert grown or world.now - before[0] >= POLICY.repeat
                last[key] = (world.now, notice.alert.opened_at, notice.alert.finding.news | known)


@given(st.lists(steps, max_size=12))
@settings(max_examples=100, deadline=None)
def test_what_opens_is_resolved_before_it_opens_again(history: list[Step]) -> None:
    world = World()
    for step in [*history, Step(LONGER_THAN_ANY_BACK_OFF, {}, frozenset())]:
        world.look(step)
    for identity in IDENTITIES:
        names = [
            event.name
            for event in world.events
            if event.finding.identity == identity and event.name in {"opened", "resolved"}
        ]
        assert names == ["opened", "resolved"] * (len(names) // 2)
    # A killed process may write the same events again.
    assert fold([*world.events, *world.events]) == fold(world.events)


def look(world: World, hours: float, *wrong: Identity, **options: object) -> tuple[Message, ...]:
    working = options.get("working", NAMES)
    assert isinstance(working, tuple)
    step = Step(dt.timedelta(hours=hours), dict.fromkeys(wrong, frozenset()), frozenset(working))
    return world.look(step)


def test_a_history_worked_by_hand() -> None:
    check, run = IDENTITIES[0], IDENTITIES[1]
    world = World(channels={"json-1": Channel("json-1")})

    (first,) = look(world, 0, check, run)
    assert title(first, "local") == "[error] flights: 2 new"
    assert look(world, 23, check, run) == ()
    (again,) = look(world, 1, check)
    assert title(again, "production") == "[warning] flights (production): 1 still open, 1 resolved"
    assert [(n.state, n.alert.identity) for n in again.notices] == [
        ("still", check),
        ("resolved", run),
    ]
    (over,) = look(world, 1)
    assert title(over, "local") == "[resolved] flights: 1 resolved"
    assert body(over).splitlines() == [
        "Over",
        "- warning: fct.unique",
        "  fct.unique is wrong (since 2013-02-08 06:00 UTC, over 2013-02-09 07:00 UTC)",
        "  http://ui/x",
    ]


def test_a_channel_that_fails_is_left_alone_longer_each_time_and_loses_nothing() -> None:
    world = World(channels={"json-1": Channel("json-1")})
    tried = [
        minute
        for minute in range(130)
        if look(world, 1 / 60 if minute else 0, IDENTITIES[0], working=())
    ]
    # One minute, two, four, … sixty at the most.
    assert tried == [0, 1, 3, 7, 15, 31, 63, 123]
    (alert,) = fold(world.events)
    assert (alert.told, alert.unsent) == ({}, {"json-1": "down"})
    assert sum(event.name == "unsent" for event in world.events) == 1, "said once"

    # It is over before the channel works again: people still hear of it.
    assert look(world, 0.1, working=()) == ()
    (late,) = look(world, 1)
    assert [notice.state for notice in late.notices] == ["resolved"]


def test_what_cannot_be_judged_stays_as_it_is() -> None:
    found = finding(IDENTITIES[1])
    opened = [AlertEvent(found, "opened", START)]
    unknown = Evidence((), frozenset([found.identity]))

    decision = decide(fold(opened), unknown, [], START + dt.timedelta(days=9), POLICY)

    assert decision.events == ()
    assert decide(fold(opened), Evidence(()), [], START, POLICY).events[0].name == "resolved"


def test_what_a_person_knows_of_is_told_again_only_when_something_is_new_or_it_is_over() -> None:
    world, one = World(), IDENTITIES[0]
    day, later = frozenset({"2013-02-08"}), frozenset({"2013-02-08", "2013-02-09"})
    both, hour = frozenset(NAMES), dt.timedelta(hours=1)

    def look(news: frozenset[str] | None, after: dt.timedelta = hour) -> list[str]:
        wrong = {} if news is None else {one: news}
        said = world.look(Step(after, wrong, both))
        return sorted({notice.state for message in said for notice in message.notices})

    def acknowledge(news: frozenset[str]) -> None:
        world.events.append(
            AlertEvent(finding(one, news), "acknowledged", world.now, reason="the mast is down")
        )

    assert look(day) == ["new"]
    acknowledge(day)
    assert look(day, dt.timedelta(days=3)) == []
    assert next_due(fold(world.events), list(world.channels.values()), world.now, POLICY) is None
    assert look(later) == ["more"]
    assert look(later, dt.timedelta(days=3)) == []
    assert look(None) == ["resolved"]
    # It is another alert when it comes back.
    assert look(day) == ["new"]
    assert look(day, dt.timedelta(days=3)) == ["still"]


def test_what_is_acknowledged_before_anybody_was_told_is_not_told() -> None:
    known = AlertEvent(finding(IDENTITIES[0]), "acknowledged", START, reason="I am at it")
    alerts = fold([AlertEvent(finding(IDENTITIES[0]), "opened", START), known, known])
    assert alerts[0].acknowledged is not None
    assert alerts[0].acknowledged.reason == "I am at it"
    evidence = Evidence((finding(IDENTITIES[0]),))
    assert not decide(alerts, evidence, [Channel("json-1")], START, POLICY).messages


def test_a_channel_that_is_new_hears_what_is_open_and_not_what_is_long_over() -> None:
    world = World(channels={"json-1": Channel("json-1")})
    look(world, 0, IDENTITIES[0], IDENTITIES[1])
    look(world, 1, IDENTITIES[0])
    world.channels["mailtos-1"] = Channel("mailtos-1")

    (message,) = look(world, 1, IDENTITIES[0])

    assert message.channel == "mailtos-1"
    assert [(n.state, n.alert.identity) for n in message.notices] == [("new", IDENTITIES[0])]
