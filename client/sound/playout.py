"""What the person on the line hears, and when: the loudspeaker's side of a call.

Audio arrives faster than it plays. An item's audio plays contiguously from the arrival of its
first delta; if the loudspeaker runs dry in between, the rest plays from its own arrival and that
is an underrun. All positions are samples at 24 kHz since the call began.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from client.sound.speech import first_audible, last_audible

LATE_SAMPLES = 24  # 1 ms: less than this between two deltas is the clock's grain, not a gap


@dataclass(frozen=True, slots=True)
class Piece:
    """Audio of one item that plays without a gap from ``start``."""

    item_id: str
    start: int
    samples: NDArray[np.float32]

    @property
    def end(self) -> int:
        """The position after its last sample."""
        return self.start + len(self.samples)


@dataclass(slots=True)
class Playout:
    """The loudspeaker of one call.

    ``pieces`` are in playing order and do not overlap; ``underruns`` counts the gaps within
    items, ``underrun_samples`` their length; an item in ``cut`` is deaf to further audio.
    """

    pieces: list[Piece] = field(default_factory=list)
    underruns: dict[str, int] = field(default_factory=dict)
    underrun_samples: int = 0
    cut: set[str] = field(default_factory=set)

    @property
    def end(self) -> int:
        """When all that has arrived will have been played."""
        return self.pieces[-1].end if self.pieces else 0

    def feed(self, item_id: str, samples: NDArray[np.float32], now: int) -> None:
        """Queue audio that arrives at ``now``. That of a cut item is dropped."""
        if item_id in self.cut or len(samples) == 0:
            return
        last = self.pieces[-1] if self.pieces else None
        start = max(now, self.end)
        if last is not None and last.item_id == item_id:
            gap = start - last.end
            if gap < LATE_SAMPLES:
                start = last.end
            else:
                self.underruns[item_id] = self.underruns.get(item_id, 0) + 1
                self.underrun_samples += gap
        self.pieces.append(Piece(item_id, start, samples))

    def interrupt(self, now: int) -> tuple[str, int] | None:
        """Stop at ``now`` and drop what is queued.

        Returns the item that was playing and how many of its samples were heard, or None if
        nothing was left to play. Every item that is cut off stays cut off.
        """
        if self.end <= now:
            return None
        dropped = [piece for piece in self.pieces if piece.end > now]
        self.cut.update(piece.item_id for piece in dropped)
        playing = dropped[0]
        self.pieces = [piece for piece in self.pieces if piece.end <= now]
        if playing.start < now:
            heard = playing.samples[: now - playing.start]
            self.pieces.append(Piece(playing.item_id, playing.start, heard))
        return playing.item_id, self.heard(playing.item_id, now)

    def heard(self, item_id: str, now: int) -> int:
        """Samples of the item that have been played by ``now``."""
        return sum(
            min(piece.end, now) - piece.start
            for piece in self.pieces
            if piece.item_id == item_id and piece.start < now
        )

    def item(self, item_id: str) -> NDArray[np.float32]:
        """The item's audio, without the gaps."""
        parts = [piece.samples for piece in self.pieces if piece.item_id == item_id]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)

    def first_audible(self, item_id: str) -> int | None:
        """When the item's first audible sample plays, or None."""
        for piece in self.pieces:
            if piece.item_id == item_id and (index := first_audible(piece.samples)) is not None:
                return piece.start + index
        return None

    def stopped_at(self, item_id: str) -> int | None:
        """When the item was cut off while it played, or None. What was cut need not have been
        audible just then: a voice pauses."""
        ends = [piece.end for piece in self.pieces if piece.item_id == item_id]
        return ends[-1] if ends and item_id in self.cut else None

    def last_audible(self, item_id: str) -> int | None:
        """When the item's last audible sample plays, or None."""
        for piece in reversed(self.pieces):
            if piece.item_id == item_id and (index := last_audible(piece.samples)) is not None:
                return piece.start + index
        return None

    def items_at(self, position: int) -> list[str]:
        """The items that had begun to play by ``position``, in that order."""
        return [piece.item_id for piece in self.pieces if piece.start <= position]

    def timeline(self, length: int) -> NDArray[np.float32]:
        """The call as it was heard: ``length`` samples from its beginning, silence between."""
        heard = np.zeros(length, dtype=np.float32)
        for piece in self.pieces:
            part = piece.samples[: max(0, length - piece.start)]
            heard[piece.start : piece.start + len(part)] = part
        return heard
