"""Records calls: asks for each whether it is to be, and writes all of them on one thread."""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

from duplex.call_records import journal
from duplex.call_records.journal import CallRecord
from duplex.call_records.recorder import CallRecorder, Work
from duplex.call_records.recording import Recording, recover
from duplex.call_records.shelf import Shelf, new_id
from duplex.config import RecordingConfig
from duplex.dialogue.observers import CallInfo, CallObserver
from duplex.logs import call_logger
from duplex.metrics import Metrics

logger = logging.getLogger(__name__)

# Of one call that wait for the disk, about a minute and a half; a recording that is further behind
# is given up.
_MAX_WAITING_BYTES = 16 * 1024 * 1024
_CLEAR_S = 3600.0  # between looks for what is too old
_FINISH_S = 20.0  # for what is still to be written when the server stops


Tell = Callable[[CallInfo, CallRecord], None]


class Keeper:
    """All recordings of one server."""

    def __init__(
        self,
        config: RecordingConfig,
        shelf: Shelf,
        metrics: Metrics,
        language: str,
        tell: Tell | None = None,
    ) -> None:
        """``language`` is that of calls that name none. ``tell`` is called on the thread that
        writes, for each recording that is whole."""
        self.shelf = shelf
        self._config = config
        self._metrics = metrics
        self._language = language
        self._tell = tell
        self._work: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._has_failed = False  # whether the last write did; so that it is told once

    def observe(self, info: CallInfo) -> CallObserver | None:
        """Return what records a call that begins; None if it is not to be recorded."""
        is_wanted = self._config.every_call if info.records is None else info.records
        if not is_wanted or info.session.duplex.record is False:
            return None
        writing = _Writing(self, info)
        return CallRecorder(info, writing, self._config.notice, self._language)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Write while the block runs; at its end, all that is left. First pick up what a process
        has left behind that died."""
        thread = threading.Thread(target=self._run, name="recordings", daemon=True)
        thread.start()
        self.do(self._pick_up)
        clearing = asyncio.create_task(self._clear_now_and_then())
        try:
            yield
        finally:
            clearing.cancel()
            self._work.put(None)
            await asyncio.to_thread(thread.join, _FINISH_S)
            if thread.is_alive():
                logger.warning("recordings are left unfinished: the disk is too slow")

    def do(self, work: Callable[[], Any]) -> None:
        """Have ``work`` done on the thread, after what was given before."""
        self._work.put(work)

    @property
    def waiting(self) -> int:
        """How many pieces of work wait for the thread."""
        return self._work.qsize()

    def kept(self, info: CallInfo, record: CallRecord) -> None:
        """A recording is whole."""
        self._has_failed = False
        self._metrics.count("duplex_recordings_total", outcome="kept")
        if self._tell is not None:
            self._tell(info, record)
        self._clear()

    def failed(self, call_id: str, error: BaseException | str) -> None:
        """A recording cannot be written. It is told once until one can be again."""
        self._metrics.count("duplex_recordings_total", outcome="failed")
        level = logging.DEBUG if self._has_failed else logging.ERROR
        self._has_failed = True
        call_logger(logger, call_id).log(
            level, "is not recorded any more, nor may others be: %s", error
        )

    def discarded(self) -> None:
        """A client does not want its call recorded."""
        self._metrics.count("duplex_recordings_total", outcome="refused")

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:
                logger.exception("the thread of recordings goes on after a failure")

    def _pick_up(self) -> None:
        for part in self.shelf.parts():
            try:
                if recover(part):
                    self._metrics.count("duplex_recordings_total", outcome="recovered")
                    logger.info("a recording was left unfinished, and is kept: %s", part.stem)
            except Exception:  # of files that are broken
                logger.exception("a recording cannot be picked up: %s", part)
        self._clear()

    def _clear(self) -> None:
        try:
            if count := self.shelf.clear():
                self._metrics.count("duplex_recordings_deleted_total", count)
                logger.info("%d recordings were deleted: they are too old, or too many", count)
        except OSError:
            logger.exception("recordings that are too old cannot be deleted")

    async def _clear_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_CLEAR_S)
            self.do(self._clear)


class _Writing:
    """One recording, from the event loop to the thread."""

    def __init__(self, keeper: Keeper, info: CallInfo) -> None:
        self._keeper = keeper
        self._info = info
        self._call_id = info.call_id
        self._began = journal.Began(info.call_id, info.began_s, info.key, info.client)
        self._given = 0  # bytes; changed on the event loop only
        self._done = 0  # bytes; changed on the thread only
        self._is_over = False  # set on the event loop when nothing more is to be given
        self._recording: Recording | None = None  # on the thread; set while it can be written
        keeper.do(self._open)

    def do(self, work: Work, size_bytes: int = 0) -> None:
        """See `recorder.Writing`."""
        if self._is_over:
            return
        if self._given - self._done + size_bytes > _MAX_WAITING_BYTES:
            self._is_over = True
            self._keeper.do(self._give_up)
            return
        self._given += size_bytes
        self._keeper.do(lambda: self._perform(work, size_bytes))

    def finish(self, why: str, at_s: float) -> None:
        """See `recorder.Writing`."""
        if not self._is_over:
            self._is_over = True
            self._keeper.do(
                lambda: self._guarded(lambda recording: recording.close(why, at_s), last=True)
            )

    def discard(self) -> None:
        """See `recorder.Writing`."""
        self._is_over = True
        self._keeper.do(self._discard)

    # On the thread.

    def _open(self) -> None:
        folder = self._keeper.shelf.path / new_id(self._call_id, self._began.began_s)
        try:
            self._recording = Recording(folder, self._began)
        except OSError as error:
            self._keeper.failed(self._call_id, error)

    def _perform(self, work: Work, size_bytes: int) -> None:
        self._done += size_bytes
        self._guarded(work)

    def _guarded(self, work: Work, *, last: bool = False) -> None:
        recording = self._recording
        if recording is None:
            return
        try:
            done = work(recording)
        except Exception as error:  # of the disk, of libsndfile: the call goes on
            self._recording = None
            self._keeper.failed(self._call_id, error)
            with contextlib.suppress(Exception):
                recording.abandon()
            return
        if last:
            self._recording = None
            self._keeper.kept(self._info, done)

    def _give_up(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.abandon()
            self._keeper.failed(self._call_id, "the disk is too slow")

    def _discard(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.delete()
            self._keeper.discarded()
