"""Messages that really arrive, over SMTP and HTTP on loopback, and channels that do not work."""

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
import requests
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


@pytest.mark.parametrize(
    ("url", "limit"),
    [
        pytest.param(f"discord://123456789012345678/{'a' * 68}/", 2000, id="discord"),
        pytest.param(f"tgram://123456789:{'A' * 35}/12345678/", 4096, id="telegram"),
    ],
)
def test_a_long_message_is_split_where_a_service_takes_no_longer_ones(
    url: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: list[str] = []

    def post(*_: Any, **given: Any) -> requests.Response:
        said = json.loads(given["data"])
        text = said.get("content") or said.get("text")
        response = requests.Response()
        response.status_code = 200 if len(text) <= limit else 400
        response._content = b'{"ok": true, "result": {}}'
        if response.status_code == 200:
            posted.append(text)
        return response

    monkeypatch.setattr("requests.post", post)
    lines = [f"- error: fct_flights.rule_{number} {'x' * 60}" for number in range(100)]
    long = Outgoing("c", TITLE, "\n".join(lines), "error")

    assert send({"c": url}, [long])[0].reason == ""
    assert len(posted) > 1
    arrived = "".join("".join(posted).split())
    assert all("".join(line.split()) in arrived for line in lines), "nothing of it is lost"

    posted.clear()
    assert send({"c": f"{url}?overflow=truncate"}, [long])[0].was_taken
    assert len(posted) == 1, "as the URL says"
    assert not send({"c": f"{url}?overflow=upstream"}, [long])[0].was_taken


@given(st.from_regex(r"[A-Za-z0-9]{3,20}", fullmatch=True), st.text(max_size=20))
def test_no_part_of_a_url_is_left_in_a_text(secret: str, around: str) -> None:
    url = f"tgram://user:{secret}@host/{secret}-x?token={secret}"
    assert secret not in scrub(f"{around} {secret} {url}", url).replace("***", "")


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("mailtos://user:Pa%2Fss%40w1@host", "Pa/ss@w1"),
        ("mailtos://user:Pa%2Fss%40w1@host", "Pa%2Fss%40w1"),
        ("json://user:a:b#c@host/path", "a:b#c"),
        ("json://user:a/b@c@host/path", "a/b@c"),
        ("json://user:a%2Cb@host/?to=x@y.z", "a,b"),
        ("json://user:x%20y@host", "x y"),
        ("json://user@name:p?q@host", "p?q"),
        ("json://u%3Are:pw1@host", "u:re"),
        ("json://host/tok%2Fen%2F1", "tok/en/1"),
        ("mailtos://host?user=joe&pass=x+y+z1", "x y z1"),
    ],
)
def test_a_password_of_any_characters_is_taken_out_whole(url: str, password: str) -> None:
    said = scrub(f"login of '{password}' refused", url)
    assert password not in said
    assert said == "login of '***' refused"


@given(st.text(min_size=3, max_size=12))
def test_no_password_of_three_characters_or_more_is_left(password: str) -> None:
    url = f"json://user:{quote(password, safe='')}@host/"
    # Between characters that no password has, so that only the password itself can be found.
    assert password not in scrub(f"\x00{password}\x00", url).replace("***", "")


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port of loopback whose every connection is answered so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def test_a_ping_sends_the_user_and_password_of_its_address() -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with listening(answer) as port:
        assert ping(f"http://hc:s3c%2Fret@127.0.0.1:{port}/ping/uuid") == ""

    head = asked[0].decode()
    assert head.startswith("GET /ping/uuid HTTP/1.1\r\n")
    sent = base64.b64encode(b"hc:s3c/ret").decode()
    assert f"Authorization: Basic {sent}\r\n" in head


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://hc:s3cr/etpw@hc.example.org/ping/uuid", id="an unencoded slash"),
        pytest.param("https://hc.example.org:s3cretpw/ping", id="no number for a port"),
        pytest.param("https://hc:s3cretpw@[hc/ping", id="no address at all"),
    ],
)
def test_a_ping_to_an_address_that_is_none_says_so_without_it(url: str) -> None:
    reason = ping(url)
    assert reason
    for secret in ("s3cretpw", "s3cr", "etpw"):
        assert secret not in reason


def test_a_ping_that_something_else_answers_is_a_failure_and_no_exception() -> None:
    with listening(lambda connection: connection.sendall(b"220 mail ESMTP ready\r\n")) as port:
        assert "BadStatusLine" in ping(f"http://127.0.0.1:{port}/verysecret")


def test_a_ping_that_is_answered_drop_by_drop_holds_up_no_look() -> None:
    given_up = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not given_up.wait(0.05):
            try:
                connection.sendall(b"X-A: 1\r\n")
            except OSError:
                return

    with listening(drip) as port:
        # Until the ping returns, drops come, so that it ends by its own time or not at all.
        assert ping(f"http://127.0.0.1:{port}/x", within_seconds=1) == "no answer within 1 s"
        given_up.set()


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
