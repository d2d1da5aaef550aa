"""The progress reporter, on a clock that is set by hand."""

import io
import threading
from collections.abc import Callable

import pytest

from duplex.model_store import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(stream: io.StringIO) -> tuple[Progress, Callable[[float], None]]:
    """A reporter whose clock is set by hand, each time followed by a refresh."""
    now_s = [100.0]
    progress = Progress(stream, clock=lambda: now_s[0], ticking=False)

    def at(seconds: float) -> None:
        now_s[0] = 100 + seconds
        progress.refresh()

    return progress, at


def test_what_is_over_soon_is_not_reported() -> None:
    stream = io.StringIO()
    progress, at = report(stream)
    with progress.task("quick"):
        at(1.9)
    assert stream.getvalue() == ""


def test_plain_lines_come_every_two_seconds() -> None:
    stream = io.StringIO()
    progress, at = report(stream)
    with progress.task("unpacking", 8_000_000) as task:
        for seconds in (1, 2, 3, 3.9, 4.1):
            task.advance(1_000_000)
            at(seconds)
    assert stream.getvalue().splitlines() == [
        "unpacking, 2 of 8 MB, 2 s",
        "unpacking, 5 of 8 MB, 4 s",
        "unpacking: done in 4.1 s",
    ]


def test_a_terminal_has_one_bar_kept_up_to_date() -> None:
    stream = Terminal()
    progress, at = report(stream)
    with progress.task("fetching", 3, "packages") as task:
        at(2)
        task.detail = "ear-one==1.0"
        task.advance()
        at(2.5)
    drawn, *rest = stream.getvalue().split("\n")
    first, second, *_, last = drawn.strip("\r").split("\r")
    assert "fetching:   0%" in first
    assert "0/3" in first
    assert "fetching:  33%" in second
    assert "1/3" in second
    assert "ear-one==1.0" in second
    assert last == "fetching: done in 2.5 s"
    assert rest == [""]


def with_inner(progress: Progress, act: Callable[[], None]) -> None:
    with progress.task("inner"):
        act()
    raise KeyError


def test_the_inner_task_is_shown_and_a_failure_is_not_done() -> None:
    stream = io.StringIO()
    progress, at = report(stream)
    with pytest.raises(KeyError), progress.task("outer"):
        with_inner(progress, lambda: at(3))
    assert stream.getvalue().splitlines() == [
        "inner, 3 s",
        "inner: done in 3.0 s",
        "outer: stopped after 3.0 s",
    ]


def test_the_ticker_redraws_while_a_step_reports_nothing() -> None:
    class Waiting(io.StringIO):
        def write(self, text: str) -> int:
            written.set()
            return super().write(text)

    written = threading.Event()
    ticks = iter(range(0, 1000, 3))
    stream = Waiting()
    progress = Progress(stream, clock=lambda: next(ticks))
    with progress.task("silent"):
        assert written.wait(60)
    assert stream.getvalue().startswith("silent, ")
