"""An ear for recordings: passage by passage, after what calls want of it."""

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.ear.interface import Ear, MultilingualEar
from engine.ear.passage import Passage, TimingEar, TranslatingEar, Wish
from engine.errors import EngineError
from engine.worker import Priority, Worker

logger = logging.getLogger(__name__)


class RecordingEar:
    """The ear that calls use, on its own thread, behind all that calls want of it."""

    def __init__(self, ear: Ear, worker: Worker) -> None:
        self._ear = ear
        self._worker = worker

    @property
    def languages(self) -> frozenset[str] | None:
        """Which the ear knows; None if it does not say."""
        return self._ear.languages if isinstance(self._ear, MultilingualEar) else None

    @property
    def knows_times(self) -> bool:
        """Whether it can say when each word is said."""
        return isinstance(self._ear, TimingEar)

    @property
    def translates(self) -> bool:
        """Whether it can write in English what is said in another language."""
        return isinstance(self._ear, TranslatingEar) and self._ear.translates

    async def hear(self, pcm: NDArray[np.float32], wish: Wish) -> Passage:
        """The words of ``pcm``: ``[N]``, 16 kHz mono in [-1, 1], at most 30 s.

        Raises:
            EngineError: the recogniser failed.
        """

        def work() -> Passage:
            try:
                return self._passage(pcm, wish)
            except RuntimeError as error:  # what CTranslate2 raises, out of memory for one
                logger.exception("the ear failed")
                raise EngineError("the ear failed") from error

        return await self._worker.run(work, Priority.BACKGROUND)

    def _passage(self, pcm: NDArray[np.float32], wish: Wish) -> Passage:
        ear = self._ear
        if not len(pcm):
            return Passage("", wish.language or wish.otherwise)
        if isinstance(ear, TimingEar):
            if not wish.in_english:  # what is to be translated is rarely in the callers' language
                wish = replace(wish, language=wish.language or ear.language)
            return ear.hear_passage(pcm, wish)
        if isinstance(ear, MultilingualEar):
            heard = ear.hear(pcm, wish.language or ear.language, wish.otherwise)
            return Passage(heard.text, heard.language)
        return Passage(ear.transcribe(pcm), wish.language or "")
