"""Says what is going on when something takes longer than two seconds.

tqdm draws; when to draw, and the plain lines of a log file, are decided here.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_PATIENCE_S = 2.0  # what is over sooner is not reported
_TICK_S = 0.25


class Task:
    """One thing being done. ``done`` and ``detail`` may be set by the thread that does it."""

    def __init__(self, label: str, total: int | None, unit: str, started_s: float) -> None:
        self.label = label
        self.detail = ""  # what is being done now, shown after the label
        self.done = 0
        self._total = total
        self._unit = unit
        self.started_s = started_s
        self.due_s = started_s + _PATIENCE_S  # when it is written next; set by Progress

    def advance(self, amount: int = 1) -> None:
        self.done += amount

    def line(self, now_s: float) -> str:
        """What is known of the task, in one line."""
        words = [self.label]
        if self._total and self._unit == "bytes":
            words.append(f"{self.done / 1e6:.0f} of {self._total / 1e6:.0f} MB")
        elif self._total:
            words.append(f"{self.done} of {self._total} {self._unit}")
        words.append(f"{now_s - self.started_s:.0f} s")
        return ", ".join(words) + (f" ({self.detail})" if self.detail else "")

    def bar(self, now_s: float, columns: int) -> str:
        """The same for a terminal of that width: with a bar, and the time that is left."""
        from tqdm import tqdm

        in_bytes = self._unit == "bytes"
        return tqdm.format_meter(
            self.done,
            self._total or 0,
            now_s - self.started_s,
            ncols=columns,
            prefix=self.label,
            unit="B" if in_bytes else self._unit,
            unit_scale=in_bytes,
            postfix=self.detail or None,
            bar_format=None if self._total else "{desc}: {elapsed}{postfix}",
        )


class Progress:
    """Reports tasks: tqdm's bar on a terminal, else a line every two seconds.

    ``stream`` None is silent. The innermost running task is the one shown. A thread redraws while
    tasks run, so a step that reports nothing is still seen to take its time. Tests pass
    ``ticking=False`` and a ``clock``, and call `refresh`.
    """

    def __init__(
        self,
        stream: TextIO | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        ticking: bool = True,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._ticking = ticking and stream is not None
        self._show = _status_line(stream)  # draws over the terminal's last line
        self._tasks: list[Task] = []
        self._lock = threading.Lock()
        self._idle = threading.Event()  # set when the last task ends; ends the ticker

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "bytes") -> Iterator[Task]:
        """Report ``label`` while the block runs, and how long it took if that was long."""
        task = Task(label, total, unit, self._clock())
        self._begin(task)
        try:
            yield task
        except BaseException:
            self._end(task, "stopped after")
            raise
        self._end(task, "done in")

    def refresh(self) -> None:
        """Write the innermost task's line if it has run long enough and is due."""
        with self._lock:
            if not self._tasks:
                return
            task, now_s = self._tasks[-1], self._clock()
            if now_s < task.due_s:
                return
            if self._show is None:
                task.due_s = now_s + _PATIENCE_S
                self._write(task.line(now_s))
            else:
                self._show(task.bar(now_s, shutil.get_terminal_size().columns - 1))

    def _begin(self, task: Task) -> None:
        with self._lock:
            self._tasks.append(task)
            if self._ticking and len(self._tasks) == 1:
                self._idle = threading.Event()
                threading.Thread(target=self._tick, args=(self._idle,), daemon=True).start()

    def _end(self, task: Task, how: str) -> None:
        with self._lock:
            self._tasks.remove(task)
            if not self._tasks:
                self._idle.set()
            elapsed_s = self._clock() - task.started_s
            if elapsed_s >= _PATIENCE_S:
                if self._show is not None:
                    self._show("")
                    self._show("")  # the line is blank now, and written from its start
                self._write(f"{task.label}: {how} {elapsed_s:.1f} s")

    def _tick(self, idle: threading.Event) -> None:
        while not idle.wait(_TICK_S):
            self.refresh()

    def _write(self, line: str) -> None:
        if self._stream is not None:
            self._stream.write(line + "\n")
            self._stream.flush()


def _status_line(stream: TextIO | None) -> Callable[[str], None] | None:
    if stream is None or not stream.isatty():
        return None
    from tqdm import tqdm

    return tqdm.status_printer(stream)
