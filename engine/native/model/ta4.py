"""The ta4 block: one text id, then four audio ids, again and again; how Step-Audio speaks.

After ``<tts_start>`` the model writes groups of one text id and four audio ids (25 codes a
second, so a group is 160 ms of speech) until ``<tts_end>``. Whichever runs out first is padded:
text with ``<tts_pad>``, audio with ``<audio_6561>``. The layout is that of Step-Audio's vLLM
branch (``step_audio_2_tts_ta4``).

The parser knows ids, not text: an id may end within a UTF-8 character, so that it alone decodes
to U+FFFD. Holding such ids back until the character is whole is the text decoder's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

CODES_PER_GROUP = 4
GROUP_TOKENS = 1 + CODES_PER_GROUP
GROUP_S = 0.16  # of speech
CODEBOOK_SIZE = 6561  # 3 ** 8, the finite scalar quantiser of the speech tokenizer


@dataclass(frozen=True, slots=True)
class Ta4Ids:
    """Ids of the tokenizer at hand: ``<tts_start>``, ``<tts_end>``, ``<tts_pad>``,
    ``<audio_0>`` (the ``codes`` follow in one run) and ``<audio_6561>``.

    Raises:
        ValueError: two of them are the same, or a special id lies among the codes.
    """

    start: int
    end: int
    text_pad: int
    first_code: int
    audio_pad: int
    codes: int = CODEBOOK_SIZE

    def __post_init__(self) -> None:
        specials = (self.start, self.end, self.text_pad, self.audio_pad)
        if len(set(specials)) < len(specials):
            raise ValueError(f"ta4 ids must differ: {specials}")
        if any(self.is_code(token) for token in specials):
            raise ValueError(f"a special id of {specials} is also the id of an audio code")

    def is_code(self, token: int) -> bool:
        """Whether ``token`` is the id of an audio code."""
        return 0 <= token - self.first_code < self.codes


@dataclass(frozen=True, slots=True)
class SpokenId:
    """A text id of the block; the codes after it say about that text."""

    token: int


@dataclass(frozen=True, slots=True)
class Codes:
    """The audio codes of one group, each in [0, 6560]; never empty, four where all is regular."""

    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OtherId:
    """An id outside the block: plain text, thoughts, a tool call."""

    token: int


Ta4Event = SpokenId | Codes | OtherId


class _Place(Enum):
    BEFORE = auto()
    INSIDE = auto()
    AFTER = auto()


class Ta4Parser:
    """Sorts the ids of one reply as they are decoded; holds at most three codes back.

    ``inside`` says that the prompt ended with ``<tts_start>``. Order within the block is not
    demanded: text ids pass as they come, codes leave in fours, or fewer where a text id or the
    end of the block comes first. After ``<tts_end>`` everything is other. Ids that stop the
    decoding are not for this parser.
    """

    def __init__(self, ids: Ta4Ids, *, inside: bool = False) -> None:
        self._ids = ids
        self._place = _Place.INSIDE if inside else _Place.BEFORE  # moves on with feed()
        self._codes: list[int] = []  # of the group that is not complete
        self._slots = 0  # audio ids of that group, pads included

    def feed(self, token: int) -> tuple[Ta4Event, ...]:
        """What ``token`` completes, in order; often nothing."""
        if self._place is not _Place.INSIDE:
            if self._place is _Place.BEFORE and token == self._ids.start:
                self._place = _Place.INSIDE
                return ()
            return (OtherId(token),)
        if token == self._ids.end:
            self._place = _Place.AFTER
            return self.finish()
        if self._ids.is_code(token) or token >= self._ids.audio_pad:  # rows above it are unused
            return self._feed_audio(token)
        group = self.finish()  # a text id opens the next group
        if token in (self._ids.text_pad, self._ids.start):
            return group
        return (*group, SpokenId(token))

    def finish(self) -> tuple[Ta4Event, ...]:
        """The codes held back; call it when the reply ends, however it ends."""
        group = (Codes(tuple(self._codes)),) if self._codes else ()
        self._codes.clear()
        self._slots = 0
        return group

    def _feed_audio(self, token: int) -> tuple[Ta4Event, ...]:
        if self._ids.is_code(token):
            self._codes.append(token - self._ids.first_code)
        self._slots += 1
        return self.finish() if self._slots == CODES_PER_GROUP else ()


def interleave(ids: Ta4Ids, text_ids: Sequence[int], codes: Sequence[int]) -> list[int]:
    """The block that says ``text_ids`` with ``codes``, ``<tts_start>`` to ``<tts_end>``.

    In a history the block is followed by the plain text.

    Raises:
        ValueError: a code is outside [0, 6560], or a text id is one that ta4 itself uses.
    """
    for code in codes:
        if not 0 <= code < ids.codes:
            raise ValueError(f"audio code {code} is outside [0, {ids.codes - 1}]")
    own = (ids.start, ids.end, ids.text_pad)
    for token in text_ids:
        if token in own or ids.is_code(token) or token >= ids.audio_pad:
            raise ValueError(f"id {token} is no text in a ta4 block")
    groups = max(len(text_ids), -(-len(codes) // CODES_PER_GROUP))
    block = [ids.start]
    for group in range(groups):
        block.append(text_ids[group] if group < len(text_ids) else ids.text_pad)
        some = [
            ids.first_code + code for code in codes[group * CODES_PER_GROUP :][:CODES_PER_GROUP]
        ]
        block += some + [ids.audio_pad] * (CODES_PER_GROUP - len(some))
    block.append(ids.end)
    return block
