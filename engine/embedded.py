"""The embedded engine: a speech recogniser and a text model joined as one that hears and thinks.

While the caller speaks, partial transcripts are made and what is stable of them is prefilled into
the brain; at a pause the exact pass replaces them and only the corrected tail is left to prefill.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.brain.interface import Brain, BrainSession
from engine.ear.partials import PartialTranscriber
from engine.ear.whisper import WhisperEar
from engine.thinking import ThoughtFilter
from engine.types import Finished, GenerationOptions, Message, Piece, Transcript
from engine.worker import Priority, Worker


class EmbeddedEngine:
    """Ear and brain, shared by all calls."""

    def __init__(self, ear: WhisperEar, brain: Brain) -> None:
        self._ear = ear
        self._brain = brain
        self._ear_worker = Worker("ear")

    def open(self) -> "EmbeddedSession":
        """Start a call."""
        return EmbeddedSession(self._ear, self._ear_worker, self._brain.open())

    def close(self) -> None:
        """Stop the threads and free the models."""
        self._ear_worker.close()
        self._brain.close()
