"""The journal of a recording: what became known while the call went on, a line each, and what is
made of it in the end. A process that dies leaves it as it was."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import structs

from duplex.call_records.transcript import Line
from duplex.logs import iso


class Began(msgspec.Struct, frozen=True, tag="began"):
    """What is known of the call at its beginning."""

    call_id: str
    began_s: float  # Unix time
    key: str
    client: str


class Session(msgspec.Struct, frozen=True, tag="session"):
    """The session, as it is now."""

    model: str
    voice: str
    language: str


class Rate(msgspec.Struct, frozen=True, tag="rate"):
    """The sound begins."""

    rate_hz: int


class Shift(msgspec.Struct, frozen=True, tag="shift"):
    """The caller was silent without sending anything, before a moment of what they sent."""

    heard_s: float
    silent_s: float


class Turn(msgspec.Struct, frozen=True, tag="turn"):
    """A turn of the caller's: its place in what they sent."""

    item_id: str
    from_s: float
    to_s: float


class Words(msgspec.Struct, frozen=True, tag="words"):
    """The words of an item as they are known now; ``cut``: the rest was not heard."""

    item_id: str
    role: str
    text: str
    at_s: float
    cut: bool = False


class Place(msgspec.Struct, frozen=True, tag="place"):
    """Where in the call the sound of an item is, as far as is known now."""

    item_id: str
    start_s: float
    end_s: float


class TakenBack(msgspec.Struct, frozen=True, tag="taken_back"):
    """The item is no part of the call."""

    item_id: str


class AnswerStages(msgspec.Struct, frozen=True):
    """When an answer reached its stages, in ms after the caller's last speech sample."""

    item_id: str
    turn_item_id: str | None
    speech_end_s: float
    marks_ms: dict[str, float]
    ending: str
    is_resumed: bool


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """An answer has ended."""

    answer: AnswerStages


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The call is over."""

    why: str
    at_s: float


Entry = Began | Session | Rate | Shift | Turn | Words | Place | TakenBack | Answered | Ended


class CallRecord(msgspec.Struct, kw_only=True):
    """What ``call.json`` holds."""

    id: str
    call_id: str = ""
    began: str = ""  # ISO 8601, UTC
    began_s: float = 0.0  # Unix time
    seconds: float = 0.0
    ended: str = "lost"  # why; "lost": the server was
    key: str = ""
    client: str = ""
    model: str = ""
    voice: str = ""
    language: str = ""
    rate_hz: int = 0
    turns: int = 0
    answers: list[AnswerStages] = msgspec.field(default_factory=list)


def read_journal(path: Path) -> list[Entry]:
    """Return the entries. One that is broken is passed over: the process was ended in the middle of
    it.

    Raises:
        OSError: it cannot be read.
    """
    entries: list[Entry] = []
    decoder = msgspec.json.Decoder(Entry)
    for line in path.read_bytes().split(b"\n"):
        if line:
            with contextlib.suppress(msgspec.DecodeError):
                entries.append(decoder.decode(line))
    return entries


class Summary:
    """What the entries of a journal come to."""

    def __init__(self, record_id: str) -> None:
        self.record = CallRecord(id=record_id)
        self._shifts: list[Shift] = []
        self._turns: dict[str, Turn] = {}
        self._words: dict[str, Words] = {}
        self._places: dict[str, Place] = {}
        self._taken_back: set[str] = set()
        self._answers: list[AnswerStages] = []

    def add(self, entry: Entry) -> None:
        """Take the next entry."""
        match entry:
            case Shift():
                self._shifts.append(entry)
            case Turn():
                self._turns[entry.item_id] = entry
            case Words():
                self._learn(entry)
            case Place():
                self._places[entry.item_id] = entry
            case TakenBack():
                self._taken_back.add(entry.item_id)
            case Answered():
                self._answers.append(entry.answer)
            case _:
                self._note(entry)

    def _note(self, entry: Began | Session | Rate | Ended) -> None:
        record = self.record
        match entry:
            case Began():
                record.call_id, record.began_s = entry.call_id, entry.began_s
                record.began = iso(entry.began_s)
                record.key, record.client = entry.key, entry.client
            case Session():
                record.model, record.voice = entry.model, entry.voice
                record.language = entry.language
            case Rate():
                record.rate_hz = entry.rate_hz
            case Ended():
                record.ended, record.seconds = entry.why, entry.at_s

    def _learn(self, words: Words) -> None:
        """The words that were heard of an item hold against all that were made."""
        known = self._words.get(words.item_id)
        if known is None:
            self._words[words.item_id] = words
        elif words.cut or not known.cut:
            self._words[words.item_id] = structs.replace(words, at_s=known.at_s)

    def lines(self) -> list[Line]:
        """The transcript, in the order of time."""
        lines = [self._line(words) for words in self._words.values() if self._is_said(words)]
        return sorted(lines, key=lambda line: (line.start, line.end))

    def finished(self) -> CallRecord:
        """The whole of it."""
        self.record.turns = len(self._turns.keys() - self._taken_back)
        self.record.answers = [a for a in self._answers if a.item_id not in self._taken_back]
        return self.record

    def _is_said(self, words: Words) -> bool:
        return bool(words.text.strip()) and words.item_id not in self._taken_back

    def _line(self, words: Words) -> Line:
        start, end = words.at_s, words.at_s
        turn, place = self._turns.get(words.item_id), self._places.get(words.item_id)
        if turn is not None:
            start, end = self._in_call(turn.from_s), self._in_call(turn.to_s)
        elif place is not None:
            start, end = place.start_s, place.end_s
        return Line(
            role=words.role,
            text=words.text.strip(),
            start=round(start, 3),
            end=round(max(start, end), 3),
            item_id=words.item_id,
            cut=words.cut,
        )

    def _in_call(self, heard_s: float) -> float:
        """Where in the call a moment of the caller's sound is."""
        return heard_s + sum(shift.silent_s for shift in self._shifts if shift.heard_s <= heard_s)


def summary_of(record_id: str, entries: Iterable[Entry]) -> Summary:
    """Return what ``entries`` come to."""
    summary = Summary(record_id)
    for entry in entries:
        summary.add(entry)
    return summary
