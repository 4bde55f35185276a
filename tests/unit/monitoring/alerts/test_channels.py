"""Messages that really arrive, over SMTP and HTTP on loopback, and channels that do not work."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_platform.monitoring.alerts.channels import (
    Outgoing,
    channels_of,
    ping,
    scrub,
    send,
)
from tests.sinks import HttpSink, SmtpSink, closed_port, http_sink, smtp_sink

TITLE = "[error] flight_delays: 1 new"
LINK = "http://127.0.0.1:3000/assets/flight_delays/fct_flights?view=checks&checkDetail=one_row"
BODY = f"New\n- error: fct_flights.one_row\n  2013-02-08; failed rows: 3 <b>\n  {LINK}"


@pytest.fixture
def web():
    with http_sink() as sink:
        yield sink


@pytest.fixture
def mail():
    with smtp_sink() as sink:
        yield sink


def message(channel: str, number: int = 1) -> Outgoing:
    return Outgoing(channel, TITLE.replace("1", str(number)), BODY, "error")


def test_a_message_arrives_by_mail_and_by_webhook(web: HttpSink, mail: SmtpSink) -> None:
    channels = channels_of(f"{mail.url}, {web.url}")
    assert list(channels) == ["mailto-1", "json-1"]

    done = send(channels, [message("mailto-1"), message("json-1")])

    assert [delivery.was_taken for delivery in done] == [True, True]
    (post,) = web.posts
    assert (post["title"], post["message"], post["type"]) == (TITLE, BODY, "failure")
    (letter,) = mail.mails
    assert letter["Subject"] == TITLE
    assert "on.call@example.org" in letter["To"]
    assert "alerts@example.org" in letter["From"]
    text = letter.get_body(("plain", "html"))
    assert text is not None
    content = text.get_content()
    assert LINK in content or LINK.replace("&", "&amp;") in content
    assert "fct_flights.one_row" in content
    # What stands in data must not become markup of a letter.
    assert ("<b>" in content) == (text.get_content_subtype() == "plain")


def test_a_channel_that_hangs_holds_up_neither_the_others_nor_the_look(web: HttpSink) -> None:
    with http_sink() as other:
        other.hangs = threading.Event()
        channels = channels_of(f"{other.url} {web.url}")
        began = time.monotonic()
        done = send(channels, [message("json-1"), message("json-2")], within_seconds=1.0)
        took = time.monotonic() - began
        other.hangs.set()

    assert took < 3
    assert [delivery.was_taken for delivery in done] == [False, True]
    assert done[0].reason == "no answer within 1 s"
    assert len(web.posts) == 1


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(f"json://hook:verysecret@127.0.0.1:{closed_port()}/tokentoken", id="refused"),
        pytest.param(
            f"mailto://joe:verysecret@127.0.0.1:{closed_port()}?to=a@tokentoken.org&from=b@c.org",
            id="no mail server",
        ),
        pytest.param("slack://verysecret/tokentoken/x", id="not understood"),
        pytest.param("nonsense://verysecret/tokentoken", id="no such service"),
        pytest.param("verysecret tokentoken", id="no URL at all"),
        pytest.param(None, id="answers 500"),
    ],
)
def test_a_channel_that_does_not_work_says_why_and_no_secret(
    broken: str | None, web: HttpSink, caplog: pytest.LogCaptureFixture
) -> None:
    web.status = 500
    (name, url), *more = channels_of(broken or web.url).items()
    assert not more

    with caplog.at_level(logging.DEBUG):
        done = send({name: url}, [message(name), message(name, 2)])

    assert [(delivery.was_tried, delivery.was_taken) for delivery in done] == [
        (True, False),
        (False, False),
    ], "after one that was not taken the rest wait"
    assert done[0].reason
    for secret in ("verysecret", "tokentoken"):
        assert secret not in done[0].reason
        assert secret not in name
        assert secret not in " ".join(
            record.getMessage() for record in caplog.records if record.levelno >= logging.INFO
        )


def test_a_channel_that_works_again_takes_the_next_message(web: HttpSink) -> None:
    channels = channels_of(web.url)
    web.status = 503
    assert not send(channels, [message("json-1")])[0].was_taken
    web.status = 200
    assert send(channels, [message("json-1")])[0].was_taken
    assert len(web.posts) == 1


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("", []),
        ("  , ", []),
        ("json://a/b", ["json-1"]),
        (
            "mailto://h?to=a@b.c,d@e.f&from=x@y.z, json://a  tgram://t",
            ["mailto-1", "json-1", "tgram-1"],
        ),
        ("json://a,json://b", ["json-1", "json-2"]),
        ("JSONS://a", ["jsons-1"]),
    ],
)
def test_a_setting_names_its_channels(setting: str, names: list[str]) -> None:
    channels = channels_of(setting)
    assert list(channels) == names
    if "d@e.f" in setting:
        assert channels["mailto-1"] == "mailto://h?to=a@b.c,d@e.f&from=x@y.z"


@given(st.from_regex(r"[A-Za-z0-9]{3,20}", fullmatch=True), st.text(max_size=20))
def test_no_part_of_a_url_is_left_in_a_text(secret: str, around: str) -> None:
    url = f"tgram://user:{secret}@host/{secret}-x?token={secret}"
    assert secret not in scrub(f"{around} {secret} {url}", url).replace("***", "")


def test_a_ping_is_fetched_and_its_failure_is_said_without_the_address(web: HttpSink) -> None:
    address = f"http://127.0.0.1:{web.port}/verysecret"
    assert ping(address) == ""
    assert web.pings == ["/verysecret"]
    web.status = 500
    assert "HTTP Error 500" in ping(address)
    refused = ping(f"http://127.0.0.1:{closed_port()}/verysecret")
    assert refused
    assert "verysecret" not in refused
    assert ping("ftp://127.0.0.1/verysecret") == "the address is neither http nor https"
