"""What every ear promises."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Ear(Protocol):
    """A loaded speech recogniser, shared by all calls; it holds weights and no call's state.

    It is asked often: for a partial transcript while the caller speaks, and for the exact one at
    each pause. What of the words is stable, and when to ask, is decided by its user (see
    `engine.ear.transcription`).
    """

    def transcribe(self, pcm: NDArray[np.float32]) -> str:
        """What is said in ``pcm``: ``[N]``, 16 kHz mono in [-1, 1], at least one sample; "" if
        nothing is said.

        It may block: it runs on a thread of its own, one call at a time. It is not cancelled,
        so while it runs no other caller is heard: a remote ear should have a timeout.

        Raises:
            EngineError: the words cannot be had; this reply fails, and the call goes on.
            RuntimeError: as above, but the client is not shown the message.
        """


@dataclass(frozen=True, slots=True)
class Manners:
    """How an ear wants to be asked: by how many calls ``at_once``, and for ``partials`` while the
    caller speaks or only at pauses."""

    at_once: int = 1
    partials: bool = True


def manners_of(ear: Ear) -> Manners:
    """What ``ear`` says of itself in an attribute ``manners``, which few have."""
    manners: Manners = getattr(ear, "manners", Manners())
    return manners


@dataclass(frozen=True, slots=True)
class Heard:
    """The words of a clip and the code of their language, such as "en"."""

    text: str
    language: str


@runtime_checkable
class MultilingualEar(Ear, Protocol):
    """An ear that is told the language of a clip, or hears it."""

    @property
    def languages(self) -> frozenset[str]:
        """The codes of all languages that it knows."""

    @property
    def language(self) -> str | None:
        """In which it hears callers who have chosen none; None: in what they speak."""

    def hear(self, pcm: NDArray[np.float32], language: str | None, otherwise: str) -> Heard:
        """As `transcribe`, in ``language``, one of `languages`. None: in the language of the
        clip, or in ``otherwise`` where it is not clear."""
