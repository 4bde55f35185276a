"""The ways to people: apprise URLs, called by name, because their addresses hold secrets.

Belongs here: names, sending within a bounded time, and why a message was not taken, in words
without secrets. Does not belong here: what is sent and when.
"""

from __future__ import annotations

import base64
import logging
import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus, urlsplit

SENDING_SECONDS = 20.0
"""How long all channels together may take; Dagster gives a sensor 60 s."""
PING_SECONDS = 10.0

_BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_SEPARATORS = re.compile(r"[:/@?&=,;#\s]+")
_SHORTEST_SECRET = 3


@dataclass(frozen=True)
class Outgoing:
    """A message on its way.

    Attributes:
        channel: The channel's name.
        title: The title.
        body: The text.
        severity: `error`, `warning` or `resolved`; some channels colour by it.
    """

    channel: str
    title: str
    body: str
    severity: str = "warning"


@dataclass(frozen=True)
class Delivery:
    """What became of a message.

    Attributes:
        outgoing: The message.
        was_tried: Whether it was sent at all: after one that a channel did not take, the rest wait.
        reason: Why the channel did not take it, without its address; empty where it did.
    """

    outgoing: Outgoing
    was_tried: bool
    reason: str = ""

    @property
    def was_taken(self) -> bool:
        """Whether the channel took it."""
        return self.was_tried and not self.reason


Send = Callable[[Mapping[str, str], Sequence[Outgoing]], list[Delivery]]


def channels_of(urls: str) -> dict[str, str]:
    """The channels that a setting names, by name.

    A comma may stand inside a URL, so only one before the next `scheme://` parts two.

    Args:
        urls: apprise URLs, parted by commas or spaces.

    Returns:
        The URL by name: its scheme, and its place among those of that scheme. Nothing else of a
        URL is free of secrets: of some services the host is the token.
    """
    found: dict[str, str] = {}
    places: Counter[str] = Counter()
    for url in filter(None, (part.strip(" ,\n\t") for part in _BETWEEN.split(urls))):
        scheme = _SCHEME.match(url)
        kind = scheme[1].lower() if scheme else "unknown"
        places[kind] += 1
        found[f"{kind}-{places[kind]}"] = url
    return found


def send(
    channels: Mapping[str, str],
    messages: Sequence[Outgoing],
    within_seconds: float = SENDING_SECONDS,
) -> list[Delivery]:
    """Send messages, each channel in a thread of its own, so that none waits for another.

    Args:
        channels: The URL of each channel, by name.
        messages: What to send.
        within_seconds: When to stop waiting. What has not been answered by then counts as not
            taken and is sent again, so that a slow channel may get it twice and never not at all.
    """
    queues: dict[str, list[Outgoing]] = {}
    for message in messages:
        queues.setdefault(message.channel, []).append(message)
    done: dict[str, list[str]] = {name: [] for name in queues}
    threads = [
        threading.Thread(
            target=_send_in_turn, args=(channels[name], queue, done[name]), daemon=True
        )
        for name, queue in queues.items()
    ]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + within_seconds
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    deliveries: list[Delivery] = []
    for name, queue in queues.items():
        reasons = list(done[name])
        if len(reasons) < len(queue) and not any(reasons):
            reasons.append(f"no answer within {within_seconds:.0f} s")
        deliveries += [
            Delivery(message, place < len(reasons), reasons[place] if place < len(reasons) else "")
            for place, message in enumerate(queue)
        ]
    return deliveries


def _send_in_turn(url: str, queue: Sequence[Outgoing], reasons: list[str]) -> None:
    """Send one after another until one is not taken, and write down why for each."""
    for message in queue:
        try:
            reason = _notify(url, message)
        except Exception as error:
            # Plugins for a hundred services raise what they like; a thread must not die of it.
            reason = scrub(f"{type(error).__name__}: {error}", url)
        reasons.append(reason)
        if reason:
            return


class _Heard(logging.Filter):
    """What apprise logs in one thread: why it did not send.

    No handler sees it, because it quotes addresses with their tokens; what is worth saying is said
    by us, scrubbed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep a line of this thread for us alone; let others pass."""
        if record.thread != self._thread:
            return True
        if record.levelno >= logging.WARNING:
            self.lines.append(record.getMessage())
        return False


def _notify(url: str, message: Outgoing) -> str:
    """Send one message; why it was not taken, or nothing."""
    import apprise

    log = logging.getLogger("apprise")
    heard = _Heard()
    log.addFilter(heard)
    try:
        target = apprise.Apprise()
        if not target.add(url):
            return "apprise does not understand the URL; see its documentation of the service"
        for service in target:
            # Sent whole, what is longer than a service takes would be refused each time again. A
            # service has a mode of its own only where its URL gives one.
            if "overflow_mode" not in vars(service):
                service.overflow_mode = apprise.OverflowMode.SPLIT
        kinds = {
            "error": apprise.NotifyType.FAILURE,
            "warning": apprise.NotifyType.WARNING,
            "resolved": apprise.NotifyType.SUCCESS,
        }
        taken = target.notify(
            title=message.title,
            body=message.body,
            notify_type=kinds.get(message.severity, apprise.NotifyType.INFO),
            body_format=apprise.NotifyFormat.TEXT,
        )
    finally:
        log.removeFilter(heard)
    if taken:
        return ""
    return scrub("; ".join(heard.lines), url) or "it was not taken, and no reason given"


def ping(url: str, within_seconds: float = PING_SECONDS) -> str:
    """Fetch an http(s) address, as a dead man's switch wants it; why it failed, or nothing.

    Args:
        url: The address. A user and password in it are sent as HTTP Basic authorization (RFC 7617),
            and not on to where a redirect leads.
        within_seconds: When to stop waiting, also for a server that answers drop by drop.
    """
    if not url.lower().startswith(("http://", "https://")):
        return "the address is neither http nor https"
    reasons: list[str] = []
    # A socket's own time limit starts anew with each byte that comes.
    thread = threading.Thread(
        target=lambda: reasons.append(_fetch(url, within_seconds)), daemon=True
    )
    thread.start()
    thread.join(within_seconds)
    return reasons[0] if reasons else f"no answer within {within_seconds:.0f} s"


def _fetch(url: str, within_seconds: float) -> str:
    try:
        parts = urlsplit(url)
        credentials, _, host = parts.netloc.rpartition("@")
        address = parts._replace(netloc=host).geturl()
        request = urllib.request.Request(address)  # noqa: S310 - its scheme was looked at
        if credentials:
            request.add_unredirected_header("Authorization", f"Basic {_basic(credentials)}")
        with urllib.request.urlopen(request, timeout=within_seconds) as response:  # noqa: S310
            response.read(1)
    except Exception as error:
        # Whatever it is: a look must not die of its heartbeat, nor a traceback show the address.
        return scrub(f"{type(error).__name__}: {error}", url)
    return ""


def _basic(credentials: str) -> str:
    user, _, password = credentials.partition(":")
    return base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def scrub(text: str, url: str) -> str:
    """A text without any part of a URL but its scheme, in case an error quotes it.

    The user and the password are taken out whole, as they stand in the URL and decoded, whatever
    characters they have; so is what stands between separators. What is shorter than three
    characters stays: to strike out every `a` would leave no reason to read.
    """
    body = _SCHEME.sub("", url)
    whole = {body, *_SEPARATORS.split(body), *_credentials(body)}
    parts = whole | {decoded(part) for part in whole for decoded in (unquote, unquote_plus)}
    parts |= {piece for part in parts for piece in _SEPARATORS.split(part)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET:
            text = text.replace(part, "***")
    return text


def _credentials(body: str) -> set[str]:
    """The user and password of a URL without its scheme, together, apart, and as they are sent.

    A password that was not encoded may hold any separator, so the host begins after the last `@`
    that may be meant, or after the first.
    """
    found: set[str] = set()
    for before in (body.partition("@"), body.rpartition("@"),
                   re.split(r"[/?#]", body, maxsplit=1)[0].rpartition("@")):  # fmt: skip
        if before[1]:
            user, _, password = before[0].partition(":")
            found |= {before[0], user, password, _basic(before[0])}
    return found
