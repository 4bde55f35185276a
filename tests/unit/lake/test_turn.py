"""A turn has one holder, gives way to its own thread, and says who is waited for."""

import logging
import os
import re
import threading
import time
from pathlib import Path

import pytest

from analytics_platform.lake import WriterBusyError
from analytics_platform.lake import turn as module
from analytics_platform.lake.turn import Turn


@pytest.fixture
def turn(tmp_path: Path) -> Turn:
    return Turn(tmp_path / "folder" / "writer.lock", 20)


def test_the_same_thread_may_enter_again_and_holds_on_until_the_outer_end(turn: Turn) -> None:
    impatient = Turn(turn.path, 0)
    with turn.held("outer"):
        with turn.held("inner"):
            pass
        with pytest.raises(WriterBusyError, match="to do: outer"), impatient.held("other"):
            pass
    with impatient.held("other"):
        pass


def test_two_threads_exclude_each_other(turn: Turn) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with turn.held("count"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.002)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (inside, most) == (0, 1)


def test_a_block_that_raises_gives_the_turn_back(turn: Turn) -> None:
    with pytest.raises(ZeroDivisionError), turn.held("fail"):
        raise ZeroDivisionError
    with Turn(turn.path, 0).held("next"):
        pass


def test_giving_up_names_the_holder_and_what_to_do(turn: Turn) -> None:
    with (
        turn.held("a long build"),
        pytest.raises(WriterBusyError) as refused,
        Turn(turn.path, 0.05).held("my own"),
    ):
        pass
    said = str(refused.value)
    assert re.fullmatch(
        rf"Waited 0 s for the turn {re.escape(str(turn.path))} to do: my own\. "
        rf"It is held by process {os.getpid()} for \d+ s \(since \d\d:\d\d:\d\d UTC\) "
        r"to do: a long build\. "
        r"Try again when that is done, or set AP_WRITER_WAIT_SECONDS higher\.",
        said,
    )


def test_a_holder_that_left_no_name_is_said_so(turn: Turn) -> None:
    with turn.held("a long build"):
        turn.path.with_suffix(".json").write_text("")
        with (
            pytest.raises(WriterBusyError, match="held by a process that left no name"),
            Turn(turn.path, 0).held("my own"),
        ):
            pass


def test_waiting_is_logged_with_holder_seconds_and_purpose(
    turn: Turn, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_WORD_SECONDS", 0.05)
    held, warned = threading.Event(), threading.Event()

    def hold() -> None:
        with turn.held("a long build"):
            held.set()
            warned.wait(20)

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.set()

    watch, holder = Watch(), threading.Thread(target=hold)
    module.LOG.addHandler(watch)
    try:
        holder.start()
        assert held.wait(20)
        with caplog.at_level(logging.WARNING), turn.held("write p.t"):
            pass
    finally:
        warned.set()
        module.LOG.removeHandler(watch)
        holder.join(20)
    assert len(caplog.messages) == 1, "said once, and not for every look at the lock"
    assert re.fullmatch(
        rf"Waiting to write p\.t: the turn is held by process {os.getpid()} for \d+ s "
        r"\(since .* UTC\) to do: a long build",
        caplog.messages[0],
    )
