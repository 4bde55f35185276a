"""Looks of the alerter on a real lake, with real channels that work, fail and recover."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from analytics_platform.lake import Lake, LakeError, WriterBusyError, records
from analytics_platform.monitoring.alerts import log as log_module
from analytics_platform.monitoring.alerts.channels import Delivery, Outgoing, send
from analytics_platform.monitoring.alerts.decide import Evidence, Finding, Identity
from analytics_platform.monitoring.alerts.log import AlertLog
from analytics_platform.monitoring.alerts.tick import TickReport, acknowledge, note_look, tick
from analytics_platform.settings import Settings
from tests.sinks import HttpSink, SmtpSink, http_sink, smtp_sink

WRONG = Finding(
    Identity("flight_delays", "check", "fct_flights.one_row"),
    "error",
    "2013-02-08; failed rows: 3",
    "http://127.0.0.1:3000/assets/flight_delays/fct_flights?view=checks&checkDetail=one_row",
)
START = dt.datetime.fromisoformat("2013-02-08T06:00")


@pytest.fixture
def web() -> Iterator[HttpSink]:
    with http_sink() as sink:
        yield sink


@pytest.fixture
def mail() -> Iterator[SmtpSink]:
    with smtp_sink() as sink:
        yield sink


class Alerter:
    """The alerter of one environment, whose clock and findings the test sets."""

    def __init__(self, lake: Lake, settings: Settings, urls: str) -> None:
        self.lake = lake
        self.settings = settings.model_copy(update={"alert_urls": SecretStr(urls)})
        self.now = START

    def look(self, *wrong: Finding, after_minutes: float = 1, send=send) -> TickReport:
        self.now += dt.timedelta(minutes=after_minutes)
        return tick(
            self.lake, lambda _: Evidence(wrong), self.settings, send=send, now=lambda: self.now
        )


def kept(lake: Lake) -> list[tuple[str, str]]:
    with lake.reader() as con:
        if not records.has_table(con, records.ALERTS):
            return []
        return con.execute(
            "SELECT event, channel FROM lake.ops.alerts ORDER BY recorded_at, event, channel"
        ).fetchall()


def test_an_alert_arrives_once_everywhere_and_so_does_its_end(
    lake: Lake, settings: Settings, web: HttpSink, mail: SmtpSink
) -> None:
    alerter = Alerter(lake, settings, f"{web.url} {mail.url}")

    assert alerter.look(WRONG).taken == 2
    assert alerter.look(WRONG).taken == 0
    assert (len(web.posts), len(mail.mails)) == (1, 1)
    assert web.posts[0]["title"] == mail.mails[0]["Subject"] == "[error] flight_delays: 1 new"
    assert WRONG.link in web.posts[0]["message"]
    assert "fct_flights.one_row" in web.posts[0]["message"]

    alerter.look(WRONG, after_minutes=24 * 60)
    assert web.posts[-1]["title"] == "[error] flight_delays: 1 still open"
    alerter.look()
    assert web.posts[-1]["title"] == mail.mails[-1]["Subject"] == (
        "[resolved] flight_delays: 1 resolved"
    )  # fmt: skip
    alerter.look()
    assert (len(web.posts), len(mail.mails)) == (3, 3)
    assert kept(lake) == [
        ("notified", "json-1"), ("notified", "mailto-1"), ("opened", ""),
        ("repeated", "json-1"), ("repeated", "mailto-1"),
        ("notified", "json-1"), ("notified", "mailto-1"), ("resolved", ""),
    ]  # fmt: skip


def test_a_channel_that_fails_loses_nothing_and_does_not_hold_up_the_other(
    lake: Lake, settings: Settings, web: HttpSink, mail: SmtpSink
) -> None:
    alerter = Alerter(lake, settings, f"{web.url} {mail.url}")
    web.status = 500

    report = alerter.look(WRONG)

    assert report.taken == 1
    assert report.errors[0].startswith("json-1: Failed to send JSON")
    log = AlertLog(lake)
    (alert,) = log.alerts(log.state())
    assert set(alert.told) == {"mailto-1"}
    assert set(alert.unsent) == {"json-1"}, "it says so"
    # Left alone for a minute, then for two, then it works again.
    alerter.look(WRONG, after_minutes=0.5)
    assert log.state().channels["json-1"].failures == 1
    alerter.look(WRONG, after_minutes=1)
    assert log.state().channels["json-1"].failures == 2
    web.status = 200
    assert alerter.look(WRONG, after_minutes=1).taken == 0
    assert alerter.look(WRONG, after_minutes=1).taken == 1
    assert (len(web.posts), len(mail.mails)) == (1, 1)
    (alert,) = log.alerts(log.state())
    assert (set(alert.told), alert.unsent) == ({"json-1", "mailto-1"}, {})


def test_what_is_sent_while_another_writes_is_not_sent_again(
    lake: Lake, settings: Settings, web: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "LAKE_WAIT_SECONDS", 0.05)
    alerter = Alerter(lake, settings, web.url)
    assert lake.snapshot() >= 0
    is_writing, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with lake.writing("build something for long"):
            is_writing.set()
            may_end.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    is_writing.wait(30)
    try:
        assert alerter.look(WRONG).taken == 1
        assert alerter.look(WRONG).taken == 0
        assert kept(lake) == []
    finally:
        may_end.set()
        writer.join()
    alerter.look(WRONG)
    assert kept(lake) == [("notified", "json-1"), ("opened", "")]
    assert len(web.posts) == 1
    assert AlertLog(lake).state().pending == []


def test_a_look_that_is_killed_while_it_sends_has_forgotten_nothing(
    lake: Lake, settings: Settings, web: HttpSink
) -> None:
    alerter = Alerter(lake, settings, web.url)

    def be_killed(*_: object) -> list[Delivery]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        alerter.look(WRONG, send=be_killed)
    assert kept(lake) == [("opened", "")]
    # It was over before the next look: people hear that it was.
    alerter.look()
    (post,) = web.posts
    assert post["title"] == "[resolved] flight_delays: 1 resolved"
    assert "since 2013-02-08 06:01 UTC, over 2013-02-08 06:02 UTC" in post["message"]


def test_two_looks_at_once_do_not_tell_the_same(
    lake: Lake, settings: Settings, web: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "TURN_WAIT_SECONDS", 0.1)
    alerter = Alerter(lake, settings, web.url)

    def look_meanwhile(channels: dict[str, str], messages: list[Outgoing]) -> list[Delivery]:
        with pytest.raises(WriterBusyError):
            Alerter(lake, settings, web.url).look(WRONG)
        return send(channels, messages)

    assert alerter.look(WRONG, send=look_meanwhile).taken == 1
    assert len(web.posts) == 1


def test_without_a_channel_alerts_are_kept_and_told_to_the_first_that_comes(
    lake: Lake, settings: Settings, web: HttpSink
) -> None:
    other = Finding(Identity("flight_delays", "run", "daily"), "error", "it failed", "http://u/r")
    silent = Alerter(lake, settings, "")
    assert silent.look(WRONG, other).opened == 2
    assert silent.look(WRONG).resolved == 1

    Alerter(lake, settings, web.url).look(WRONG, after_minutes=5)

    (post,) = web.posts
    assert post["title"] == "[error] flight_delays: 1 new", "what was over before is over"


def test_the_heartbeat_beats_by_its_interval_and_stops_where_channels_fail(
    lake: Lake, settings: Settings, web: HttpSink, mail: SmtpSink
) -> None:
    beating = settings.model_copy(
        update={
            "alert_heartbeat_url": SecretStr(f"http://127.0.0.1:{web.port}/alive"),
            "alert_heartbeat_hours": 1.0,
        }
    )
    alerter = Alerter(lake, beating, web.url)
    due = alerter.look().due
    assert web.pings == ["/alive"]
    assert due == alerter.now + dt.timedelta(hours=1)
    alerter.look(after_minutes=59)
    assert len(web.pings) == 1
    alerter.look(after_minutes=1)
    assert len(web.pings) == 2
    web.status = 500
    alerter.look(WRONG, after_minutes=90)
    assert len(web.pings) == 2, "an alerter that reaches nobody is as good as dead"
    assert AlertLog(lake).state().channels["json-1"].failures == 1
    web.status = 200
    alerter.look(WRONG, after_minutes=2)
    assert len(web.pings) == 3

    by_mail = beating.model_copy(update={"alert_heartbeat_url": SecretStr(mail.url)})
    Alerter(lake, by_mail, "").look(after_minutes=600)
    assert mail.mails[0]["Subject"] == "Alerts: heartbeat"


def test_a_look_that_finds_nothing_changed_still_says_that_it_looked(
    lake: Lake, settings: Settings
) -> None:
    snapshot = lake.snapshot()
    note_look(lake)
    state = AlertLog(lake).state()
    assert state.ticked_at is not None
    assert abs(records.now() - state.ticked_at) < dt.timedelta(minutes=1)
    assert lake.snapshot() == snapshot, "a look each minute must not be a snapshot each minute"


def test_a_file_that_something_else_wrote_is_named(lake: Lake) -> None:
    (lake.folder / "alerter.json").parent.mkdir(parents=True, exist_ok=True)
    (lake.folder / "alerter.json").write_text("{")
    with pytest.raises(LakeError, match=r"alerter\.json holds no JSON"):
        AlertLog(lake).state()


def test_no_secret_is_written_anywhere(
    lake: Lake, settings: Settings, web: HttpSink, caplog: pytest.LogCaptureFixture
) -> None:
    urls = f"{web.url} slack://verysecret/tokentoken/x mailto://joe:verysecret@127.0.0.1:1?to=a@b.c"
    alerter = Alerter(lake, settings, urls)
    alerter.look(WRONG)
    web.status = 500
    alerter.look(after_minutes=60)

    files = [path for path in settings.root.rglob("*") if path.is_file()]
    assert any(path.name == "alerter.json" for path in files)
    for path in files:
        content = path.read_bytes()
        assert b"verysecret" not in content, path
        assert b"tokentoken" not in content, path
    assert "verysecret" not in caplog.text
    assert "verysecret" not in repr(alerter.settings)


def test_an_acknowledged_alert_is_quiet_until_it_is_over(
    lake: Lake, settings: Settings, web: HttpSink
) -> None:
    alerter = Alerter(lake, settings, web.url)
    alerter.look(WRONG)
    told = len(web.posts)

    def say(product: str, subject: str) -> int:
        return len(acknowledge(lake, product, subject, "known", now=lambda: alerter.now))

    assert say("flight_delays", "fct_flights.another") == 0
    assert say("weather", WRONG.identity.subject) == 0
    assert say("flight_delays", WRONG.identity.subject) == 1
    assert alerter.look(WRONG, after_minutes=72 * 60).taken == 0
    assert len(web.posts) == told
    assert ("acknowledged", "") in kept(lake)
    assert alerter.look().taken == 1
    assert web.posts[-1]["title"] == "[resolved] flight_delays: 1 resolved"
    assert say("flight_delays", WRONG.identity.subject) == 0
