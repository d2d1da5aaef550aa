"""The files of one recording while its call goes on. Lives on the thread that writes.

They are in a folder named ``ID.part``: the sound as FLAC, whose blocks are on their way to the disk
as soon as they are full, and the journal. `close` makes the transcript of it and renames the folder
to ``ID``. `recover` does the same for a folder whose process has died.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from duplex.audio.formats import Samples, float_to_int16
from duplex.audio.resample import Resampler
from duplex.call_records import journal
from duplex.call_records.journal import CallRecord, Entry, read_journal, summary_of
from duplex.call_records.lock import is_held, lock
from duplex.call_records.tracks import KEPT_ITEMS, CallTracks
from duplex.call_records.transcript import as_jsonl, as_vtt
from duplex.dialogue.observers import Answer
from duplex.dialogue.playback import PlaybackLedger
from duplex.turns.vad import SAMPLE_RATE
from tts.types import SpokenWord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from soundfile import SoundFile

PART = ".part"
JOURNAL = "journal.jsonl"
SOUND = "audio.flac"
LINES = "transcript.jsonl"
VTT = "transcript.vtt"
RECORD = "call.json"
_BLOCK_S = 1  # of sound that is written at a time
_MENDED_FRAMES = 4096  # read at a time of a file that is torn: no more is lost


class _Item:
    """What the server says in one item, until it is over."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.rate_hz = from_hz
        self.resampler = Resampler(from_hz, to_hz)
        self.ledger = PlaybackLedger(from_hz)


class Recording:
    """One. Each method may raise `OSError`, or what libsndfile raises; then it is over."""

    def __init__(self, folder: Path, began: journal.Began) -> None:
        """``folder`` is where it will be in the end."""
        self._folder = folder
        self._part = folder.with_name(folder.name + PART)
        self._part.mkdir(mode=0o700)
        self._journal: BinaryIO = (self._part / JOURNAL).open("ab", buffering=0)
        lock(self._journal)
        self._encoder = msgspec.json.Encoder()
        self._tracks: CallTracks | None = None  # set by the first sound, as the two below
        self._sound: SoundFile | None = None
        self._caller: Resampler | None = None
        self._caller_hz = 0
        self._items: dict[str, _Item] = {}
        self.note(began)

    def note(self, entry: Entry) -> None:
        """Write an entry into the journal."""
        self._journal.write(self._encoder.encode(entry) + b"\n")

    def begin_sound(self, rate_hz: int) -> None:
        """Both channels are kept at that rate."""
        import soundfile  # libsndfile is loaded by servers that record

        self._tracks = CallTracks(rate_hz)
        self._sound = soundfile.SoundFile(
            self._part / SOUND, "w", rate_hz, 2, format="FLAC", subtype="PCM_16"
        )
        self.note(journal.Rate(rate_hz))

    def at(self, clock_s: float) -> float:
        """Return where the call is at a time of its clock, in seconds."""
        tracks = self._tracks
        return clock_s if tracks is None else tracks.at(clock_s) / tracks.rate_hz

    def heard(self, samples: Samples, rate_hz: int, at_s: float) -> None:
        """Sound came from the caller."""
        tracks = self._begun(rate_hz)
        if self._caller is None or self._caller_hz != rate_hz:
            self._caller, self._caller_hz = Resampler(rate_hz, tracks.rate_hz), rate_hz
        tracks.heard(self._caller.feed(samples), at_s)
        self._write_ready(at_s)

    def said(
        self, item_id: str, samples: Samples, rate_hz: int, words: Sequence[SpokenWord], at_s: float
    ) -> None:
        """More of an item goes out."""
        tracks = self._begun(rate_hz)
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = _Item(rate_hz, tracks.rate_hz)
            while len(self._items) > KEPT_ITEMS:
                del self._items[next(iter(self._items))]
        item.ledger.feed(len(samples), words, 0.0)
        is_new = tracks.reply.place(item_id) is None
        tracks.reply.feed(item_id, item.resampler.feed(samples), tracks.at(at_s))
        if is_new:
            self.note_place(item_id)
        self._write_ready(at_s)

    def words(self, item_id: str, role: str, text: str, at_s: float) -> None:
        """The words of an item are known."""
        self.note(journal.Words(item_id, role, text, self.at(at_s)))
        self.note_place(item_id)

    def answered(self, answer: Answer) -> None:
        """A response has ended; its last sound is placed."""
        self.note_place(answer.item_id)
        stages = journal.AnswerStages(
            item_id=answer.item_id,
            turn_item_id=answer.turn_item_id,
            speech_end_s=round(self.at(answer.speech_end_s), 3),
            marks_ms=answer.marks_ms,
            ending=answer.ending.type,
            is_resumed=answer.is_resumed,
        )
        self.note(journal.Answered(stages))

    def cut(self, item_id: str, heard_s: float, words: str, at_s: float) -> None:
        """Only so much of an item was heard."""
        self.note(journal.Words(item_id, "assistant", words, self.at(at_s), cut=True))
        if self._tracks is None:
            return
        heard = round(heard_s * self._tracks.rate_hz)
        self._tracks.reply.cut(item_id, heard, self._tracks.at(at_s))
        self.note_place(item_id)

    def turn(self, item_id: str, from_sample: int, to_sample: int) -> None:
        """A turn of the caller's is over."""
        self.note(journal.Turn(item_id, from_sample / SAMPLE_RATE, to_sample / SAMPLE_RATE))

    def note_place(self, item_id: str) -> None:
        """Write down where an item is, if it has sound."""
        tracks = self._tracks
        span = None if tracks is None else tracks.reply.place(item_id)
        if tracks is not None and span is not None:
            rate_hz = tracks.rate_hz
            self.note(journal.Place(item_id, span.start / rate_hz, span.end / rate_hz))

    def close(self, why: str, at_s: float) -> CallRecord:
        """The call is over: finish the files. Returns what is told of it."""
        tracks = self._tracks
        if tracks is not None:
            at = tracks.at(at_s)
            for item_id, heard in tracks.reply.finish(at):
                self._cut_by_end(item_id, heard / tracks.rate_hz, at_s)
            end = tracks.caller.finish(at)
            while (left := end - tracks.taken) > 0:
                self._write(tracks, min(left, _BLOCK_S * tracks.rate_hz), at_s)
            at_s = end / tracks.rate_hz
            assert self._sound is not None
            self._sound.close()
        self.note(journal.Ended(why, at_s))
        record = finish(self._part, self._folder.name)
        self._journal.close()
        (self._part / JOURNAL).unlink()
        self._part.rename(self._folder)
        return record

    def abandon(self) -> None:
        """Write nothing more; what there is stays for `recover`."""
        if self._sound is not None:
            self._sound.close()
        self._journal.close()

    def delete(self) -> None:
        """Leave nothing of it."""
        self.abandon()
        shutil.rmtree(self._part)

    def _begun(self, rate_hz: int) -> CallTracks:
        if self._tracks is None:
            self.begin_sound(rate_hz)
        assert self._tracks is not None
        return self._tracks

    def _cut_by_end(self, item_id: str, heard_s: float, at_s: float) -> None:
        item = self._items[item_id]
        words = item.ledger.text_heard(round(heard_s * item.rate_hz))
        self.note(journal.Words(item_id, "assistant", words, self.at(at_s), cut=True))
        self.note_place(item_id)

    def _write_ready(self, at_s: float) -> None:
        assert self._tracks is not None
        block = _BLOCK_S * self._tracks.rate_hz
        while self._tracks.ready(at_s) >= block:
            self._write(self._tracks, block, at_s)

    def _write(self, tracks: CallTracks, count: int, at_s: float) -> None:
        assert self._sound is not None
        self._sound.write(float_to_int16(tracks.take(count, at_s)))
        for at, silence in tracks.caller.shifts:
            rate_hz = tracks.rate_hz
            self.note(journal.Shift(at / rate_hz, silence / rate_hz))
        tracks.caller.shifts.clear()


def finish(part: Path, record_id: str) -> CallRecord:
    """Write the transcript and the record of what the journal in ``part`` holds."""
    summary = summary_of(record_id, read_journal(part / JOURNAL))
    record, lines = summary.finished(), summary.lines()
    (part / LINES).write_bytes(as_jsonl(lines))
    (part / VTT).write_text(as_vtt(lines), encoding="utf-8")
    _write_whole(part / RECORD, msgspec.json.format(msgspec.json.encode(record), indent=1))
    return record


def recover(part: Path) -> bool:
    """Finish a recording whose process has died. False if there is nothing to be kept: its process
    lives, or had written nothing."""
    path = part / JOURNAL
    if path.exists():
        with path.open("ab") as file:
            if is_held(file):
                return False
            sound = part / SOUND
            seconds = _mend_sound(sound) if sound.exists() else 0.0
            if not any(isinstance(entry, journal.Ended) for entry in read_journal(path)):
                ended = msgspec.json.encode(journal.Ended("lost", seconds))
                file.write(b"\n" + ended + b"\n")
        finish(part, part.stem)
        path.unlink()
    if not (part / RECORD).exists():
        shutil.rmtree(part)
        return False
    part.rename(part.with_suffix(""))
    return True


def _mend_sound(path: Path) -> float:
    """Write a sound file anew whose end was never written. Returns how long it is; one without any
    sound is deleted."""
    import soundfile

    mended, count = path.with_name("mended.flac"), 0
    try:
        torn = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        path.unlink()
        return 0.0
    rate_hz = int(torn.samplerate)
    whole = soundfile.SoundFile(mended, "w", rate_hz, 2, format="FLAC", subtype="PCM_16")
    with torn, whole:
        for block in _blocks(torn):
            whole.write(block)
            count += len(block)
    os.replace(mended, path)
    return count / rate_hz


def _blocks(torn: "SoundFile") -> Iterator["NDArray[np.int16]"]:
    """What can be read."""
    import soundfile

    with contextlib.suppress(soundfile.LibsndfileError):  # here it ends
        while len(block := torn.read(_MENDED_FRAMES, dtype="int16")):
            yield block


def _write_whole(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
