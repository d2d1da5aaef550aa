"""A clip as the server hears it: the speech detector first, then what of it reaches the ear."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.hearing.corpus import Clip
from duplex.audio.formats import Samples
from duplex.config import Config
from duplex.dialogue.session import turn_detection
from duplex.interruption.judge import InterruptionJudge
from duplex.protocol.session_config import SessionConfig
from duplex.turns.events import PauseStarted, SpeechStarted
from duplex.turns.turn_detector import TurnDetector
from duplex.turns.vad import SAMPLE_RATE, SileroVad

_LEAD_S, _TAIL_S = 0.8, 1.6  # of a quiet room, around the clip
_ROOM = 3e-4


def turns_of(clip: Clip, vad: SileroVad, ear: Callable[[Samples], str]) -> list[Samples]:
    """What the ear is given at the end of each turn that the clip opens; ``ear`` hears at each
    pause before, because its words decide how long the pause may be."""
    detector = open_detector(vad, clip)
    turns: list[Samples] = []
    turn: Samples = np.zeros(0, np.float32)
    heard = turn
    for frame in detector.feed(in_a_room(clip.samples), lambda: None):
        turn = np.concatenate([turn, frame.samples])
        for event in frame.events:
            match event:
                case SpeechStarted(from_sample=start):
                    turn = detector.since(start)
                case PauseStarted():
                    heard = turn
                    detector.words_known(ear(turn))
        if detector.find_end() is not None:
            detector.end_turn()
            turns.append(heard)
    return turns


def open_detector(vad: SileroVad, clip: Clip) -> TurnDetector:
    """The server's detector of turns, as it is configured for such a clip."""
    detection = turn_detection(SessionConfig(), Config())
    assert detection is not None
    detector = TurnDetector(vad.open(), 10**9, InterruptionJudge)
    detector.configure(replace(detection, is_telephone=clip.is_telephone))
    return detector


def in_a_room(samples: Samples) -> Samples:
    """A clip with silence around it."""
    padded = np.pad(samples, (round(_LEAD_S * SAMPLE_RATE), round(_TAIL_S * SAMPLE_RATE)))
    room = np.random.default_rng(0).normal(0, _ROOM, len(padded))
    joined: Samples = (padded + room).astype(np.float32)
    return joined
