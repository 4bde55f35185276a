"""The alerter's sensor on a real instance: real runs that fail, files that never came, refusals."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from analytics_platform.cli.main import app
from analytics_platform.lake import Lake, records
from analytics_platform.lake.io_manager import LakeResource
from analytics_platform.monitoring.alerts import AlertLog
from analytics_platform.settings import Settings, get_settings
from tests.sinks import HttpSink, SmtpSink, closed_port, http_sink, smtp_sink

PRODUCT = "flight_delays"
DAY = "2013-01-02"
UI = "https://ui.example.org"
AIRLINES = "reference/airlines.csv"

Arrive = Callable[[str, str], None]


@pytest.fixture
def web() -> Iterator[HttpSink]:
    with http_sink() as sink:
        yield sink


@pytest.fixture
def mail() -> Iterator[SmtpSink]:
    with smtp_sink() as sink:
        yield sink


@pytest.fixture
def alerting(
    settings: Settings, web: HttpSink, mail: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """An installation whose alerts go to both sinks."""
    monkeypatch.setenv("AP_ALERT_URLS", f"{web.url}, {mail.url}")
    monkeypatch.setenv("AP_UI_URL", UI)
    get_settings.cache_clear()
    return get_settings()


class Daemon:
    """Dagster's daemon as far as this goes: it runs jobs, and evaluates the alerter's sensor."""

    def __init__(self, repository: dg.RepositoryDefinition, home: Path) -> None:
        self.repository = repository
        home.mkdir(parents=True, exist_ok=True)
        self.instance = dg.DagsterInstance.local_temp(str(home))
        self.cursor: str | None = None

    def look(self) -> str:
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=self.repository,
            cursor=self.cursor,
            resources={"lake": LakeResource()},
        )
        data = self.repository.get_sensor_def("platform_alerts").evaluate_tick(context)
        assert not data.run_requests
        self.cursor = data.cursor
        return data.skip_message or ""

    def run(self, job: str, *assets: str) -> dg.ExecuteInProcessResult:
        return self.repository.get_job(f"{PRODUCT}_{job}").execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey([PRODUCT, asset]) for asset in assets] or None,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


@pytest.fixture
def daemon(repository: dg.RepositoryDefinition, alerting: Settings) -> Iterator[Daemon]:
    made = Daemon(repository, alerting.dagster_home)
    with made.instance:
        yield made


def lines(post: dict[str, Any]) -> list[str]:
    return [line.strip() for line in post["message"].splitlines()]


def test_the_sensor_runs_by_itself_and_starts_nothing(repository: dg.RepositoryDefinition) -> None:
    sensor = repository.get_sensor_def("platform_alerts")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 60


def test_a_failed_run_and_its_check_are_told_with_links_and_so_is_that_they_are_over(
    daemon: Daemon, arrive: Arrive, landing: Path, web: HttpSink, mail: SmtpSink, lake: Lake
) -> None:
    assert daemon.look() == "There is no lake yet."
    arrive(DAY, DAY)
    good = (landing / AIRLINES).read_bytes()
    (landing / AIRLINES).write_bytes(b"nothing,of,the,sort\n1,2,3,4\n")
    failed = daemon.run("whole", "raw_airlines")
    assert not failed.success

    assert "2 opened, 0 resolved, 2 messages sent" in daemon.look()

    (post,) = web.posts
    (letter,) = mail.mails
    assert post["title"] == letter["Subject"] == "[error] flight_delays: 2 new"
    said = lines(post)
    assert "- error: raw_airlines.files_are_readable" in said
    assert "- error: raw_airlines" in said
    assert f"{UI}/runs/{failed.run_id}" in said
    assert f"{UI}/assets/{PRODUCT}/raw_airlines?view=checks&checkDetail=files_are_readable" in said
    assert any("raw_airlines" in line and "nothing" in line for line in said), "why it failed"

    # Telling made a snapshot; then nothing changes, and a look is spared.
    assert "0 opened, 0 resolved, 0 messages sent" in daemon.look()
    snapshot = lake.snapshot()
    assert daemon.look() == "Nothing has changed since the last look."
    assert lake.snapshot() == snapshot

    (landing / AIRLINES).write_bytes(good)
    assert daemon.run("whole", "raw_airlines").success
    assert "0 opened, 2 resolved, 2 messages sent" in daemon.look()
    assert web.posts[-1]["title"] == "[resolved] flight_delays: 2 resolved"
    assert len(web.posts) == len(mail.mails) == 2


def test_a_failed_run_is_told_whatever_ran_after_it(
    daemon: Daemon, arrive: Arrive, web: HttpSink
) -> None:
    arrive(DAY, DAY)
    failed = daemon.run("whole", "dim_airline")
    assert not failed.success, "its source was never loaded"
    assert daemon.run("whole", "raw_airports").success

    assert "1 opened" in daemon.look()
    (post,) = web.posts
    assert "- error: dbt" in lines(post)
    assert any(
        line.startswith(f"dim_airline; run {failed.run_id[:8]} failed") for line in lines(post)
    )

    assert daemon.run("whole", "raw_airlines").success
    assert "0 resolved" in daemon.look(), "another run of the same job makes nothing good"
    assert daemon.run("whole", "stg_airlines", "dim_airline").success
    assert "1 resolved" in daemon.look()
    assert web.posts[-1]["title"] == "[resolved] flight_delays: 1 resolved"


@pytest.mark.slow
def test_a_refused_release_is_told_until_one_is_made(
    daemon: Daemon, arrive: Arrive, landing: Path, web: HttpSink
) -> None:
    arrive(DAY, DAY)
    good = (landing / AIRLINES).read_bytes()
    assert daemon.run("whole", "raw_airlines").success
    (landing / AIRLINES).write_bytes(b"nothing,of,the,sort\n1,2,3,4\n")
    daemon.run("whole", "raw_airlines")
    assert not daemon.run("whole", "release").success

    daemon.look()

    said = lines(web.posts[0])
    assert "- error: release" in said
    assert any(line.startswith("the gate refused:") and "raw_airlines" in line for line in said)
    assert f"{UI}/assets/{PRODUCT}/release?view=checks&checkDetail=gate_holds" in said

    (landing / AIRLINES).write_bytes(good)
    assert daemon.run("whole", "raw_airlines").success
    assert daemon.run("whole", "release").success
    daemon.look()
    # The check, its run, the refusal, and its run.
    assert web.posts[-1]["title"] == "[resolved] flight_delays: 4 resolved"


def test_files_that_never_came_are_named_and_their_arrival_ends_it(
    daemon: Daemon, arrive: Arrive, landing: Path, web: HttpSink, lake: Lake
) -> None:
    from analytics_platform.arrivals import landing_zone
    from analytics_platform.components.state import look_at, sources_of

    def see() -> None:
        zone = landing_zone(get_settings().landing_url)
        look_at(lake, sources_of(daemon.repository.asset_graph, PRODUCT), PRODUCT, zone, 5.0)
        assert daemon.run("arrivals_check").success

    arrive("2013-01-01", "2013-01-03")
    missing = landing / "weather" / f"weather_{DAY}.parquet"
    content = missing.read_bytes()
    missing.unlink()
    see()
    daemon.look()
    (post,) = web.posts
    assert post["title"] == "[warning] flight_delays: 1 new"
    assert any(f"weather/weather_{DAY}.parquet" in line for line in lines(post))

    missing.write_bytes(content)
    see()
    daemon.look()
    assert web.posts[-1]["title"] == "[resolved] flight_delays: 1 resolved"


def test_the_twenty_second_file_that_never_came_is_news_as_the_first_was(
    daemon: Daemon, arrive: Arrive, landing: Path, web: HttpSink, lake: Lake
) -> None:
    from analytics_platform.arrivals import landing_zone
    from analytics_platform.components.state import look_at, sources_of

    def see() -> list[str]:
        zone = landing_zone(get_settings().landing_url)
        look_at(lake, sources_of(daemon.repository.asset_graph, PRODUCT), PRODUCT, zone, 5.0)
        result = daemon.run("arrivals_check")
        return [
            check.metadata["first"].value
            for check in result.get_asset_check_evaluations()
            if not check.passed
        ]

    def weather(day: int) -> Path:
        return landing / "weather" / f"weather_2013-01-{day:02}.parquet"

    arrive("2013-01-01", "2013-01-25")
    content = weather(25).read_bytes()
    for day in [*range(2, 23), 24, 25]:
        weather(day).unlink()
    (shown,) = see()
    assert shown.count("\n- ") == 20, "a page shows twenty of the 21, and says that there is more"
    daemon.look()
    assert web.posts[-1]["title"] == "[warning] flight_delays: 1 new"

    weather(25).write_bytes(content)
    see()
    daemon.look()
    assert web.posts[-1]["title"] == "[warning] flight_delays: 1 grown"


@pytest.mark.slow
def test_ap_run_tells_without_a_daemon_and_a_broken_channel_changes_nothing(
    alerting: Settings,
    landing: Path,
    web: HttpSink,
    mail: SmtpSink,
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[], tuple[bool, str]],
) -> None:
    (landing / "reference").mkdir(parents=True)
    (landing / AIRLINES).write_bytes(b"nothing,of,the,sort\n1,2,3,4\n")

    succeeded, printed = run()
    assert not succeeded
    assert "Alerts: 2 opened, 0 resolved, 2 messages sent" in printed
    assert web.posts[0]["title"] == "[error] flight_delays: 2 new"

    (landing / AIRLINES).unlink()
    monkeypatch.setenv("AP_ALERT_URLS", f"{web.url} json://127.0.0.1:{closed_port()}/")
    get_settings.cache_clear()
    succeeded, printed = run()
    assert "json-2: A Connection error" in printed
    assert succeeded, "what is behind ran, and telling of it is another matter"

    monkeypatch.setattr(
        "analytics_platform.cli.run.tell", lambda *_: (_ for _ in ()).throw(OSError("no disk"))
    )
    succeeded, printed = run()
    assert succeeded
    assert "Alerts were not told: no disk" in printed


def test_the_commands_show_test_and_tell_of_the_alerter(
    daemon: Daemon, arrive: Arrive, landing: Path, web: HttpSink, mail: SmtpSink, lake: Lake
) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["alerts", "list"]).exit_code == 1
    assert runner.invoke(app, ["alerts", "test"]).exit_code == 0
    assert web.posts.pop()["title"] == mail.mails.pop()["Subject"] == "Alerts: test"
    arrive(DAY, DAY)
    (landing / AIRLINES).write_bytes(b"nothing,of,the,sort\n1,2,3,4\n")
    daemon.run("whole", "raw_airlines")
    assert daemon.look()
    web.status = 500

    listed = runner.invoke(app, ["alerts", "list", PRODUCT])
    assert listed.exit_code == 0
    assert "error: flight_delays · raw_airlines.files_are_readable" in listed.output
    assert "told: json-1, mailto-1" in listed.output
    assert "2 alerts" in listed.output
    as_csv = runner.invoke(app, ["alerts", "list", "--format", "csv"])
    assert as_csv.output.count("\n") == 3
    assert runner.invoke(app, ["alerts", "list", "platform"]).output == "0 alerts\n"
    subject = "raw_airlines.files_are_readable"
    without = runner.invoke(app, ["alerts", "acknowledge", PRODUCT, subject, "--reason", " "])
    assert without.exit_code == 1
    other = runner.invoke(app, ["alerts", "acknowledge", PRODUCT, "raw_flights", "-r", "seen"])
    assert other.exit_code == 1
    assert "'raw_flights'; open are: flight_delays raw_airlines, " in " ".join(other.output.split())
    known = runner.invoke(app, ["alerts", "acknowledge", PRODUCT, subject, "-r", "asked for anew"])
    assert known.exit_code == 0
    assert "asked for anew" in runner.invoke(app, ["alerts", "list", PRODUCT]).output
    status = runner.invoke(app, ["alerts", "status"]).output
    assert "0 minutes ago" in status
    assert "2 open, 0 yet to be told" in status
    failed = runner.invoke(app, ["alerts", "test"])
    assert failed.exit_code == 1
    assert "mailto-1: taken" in failed.output
    assert "verysecret" not in failed.output + status + listed.output
    assert AlertLog(lake).state().ticked_at is not None


def test_the_sink_takes_what_another_client_sends(mail: SmtpSink) -> None:
    # The sink itself is tried with Python's own client, so that a letter it has is a letter sent.
    with smtplib.SMTP("127.0.0.1", mail.port, timeout=5) as client:
        client.sendmail("a@b.c", ["d@e.f"], "Subject: x\r\n\r\nline\r\n..dots\r\n")
    assert mail.mails[0].get_content().splitlines() == ["line", "..dots"]


def test_what_upkeep_finds_missing_is_told_and_upkeep_has_a_receipt(
    daemon: Daemon, lake: Lake, web: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analytics_platform.components import upkeep

    lake.snapshot()
    job = daemon.repository.get_job("platform_upkeep")
    monkeypatch.setattr(upkeep, "missing_files", lambda *_: ["files/ab/gone.parquet"])
    assert job.execute_in_process(instance=daemon.instance).success
    daemon.look()
    (post,) = web.posts
    assert post["title"] == "[warning] platform: 1 new"
    assert "files/ab/gone.parquet" in post["message"]

    with lake.reader() as con:
        found = records.receipts(con, "platform")
    assert found.select("asset", "succeeded").rows() == [("upkeep", True)]
