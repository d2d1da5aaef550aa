"""Whether a caller who makes a sound during an answer interrupts it: first by sound, then by words.

The judge hears frames and decides while the caller is still in the first syllable; when the words
are known, `is_false_interruption` says whether the answer should go on after all. Both are pure.
The words are for English.
"""

import re
from dataclasses import dataclass

from duplex.cues import Cue, Cues
from duplex.pcm import Samples
from duplex.probe import default_probe

FRAME_MS = 32  # of `InterruptionJudge.hear`: 512 samples at 16 kHz
OWN_MS = 96  # of the caller's own speech, which is more than a click
NEVER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class InterruptionConfig:
    """How much evidence an interruption needs.

    A frame counts as the caller's if its probability of speech is at least ``threshold``, at
    least ``unexplained`` of its power is not our echo, and it is not more than ``below_db``
    quieter than the caller's usual speech. ``speech_ms`` of such frames, with no gap longer than
    ``gap_ms``, convince the judge if the network of `probe` gives the sound ``interrupts``, and
    ``certain_ms`` whatever the network gives it.

    The defaults are chosen from benchmarks/results/interruptions.json: 200 interruptions and 360
    other sounds over an answer, most of them synthetic, by voices that the network does not know.
    195 interruptions stop the answer, after 109 ms at the median and 275 ms at the 95th
    percentile (in sample time, without transport), half of them over the answer's echo. 30 % of
    the other sounds stop it, nearly all of them "yeah", "I see" and laughter: as early as that
    they sound like words that interrupt. Without the network 61 % do, and with voice activity
    alone 78 %, which the echo also sets off before a third of the interruptions have begun.
    ``interrupts`` of 0.7 has 18 %, 0.9 has 10 %, with 520 and 710 ms at the 95th percentile. It is
    set low since an answer that was stopped falsely goes on when the words are known, which leaves
    8 % that are lost; an interruption that is ignored cannot be made good.
    """

    threshold: float = 0.5
    unexplained: float = 0.5
    below_db: float = 15.0
    speech_ms: int = 96
    gap_ms: int = 64
    interrupts: float = 0.5
    certain_ms: int = 960

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")
        for name in ("unexplained", "interrupts"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.below_db < 0:
            raise ValueError(f"below_db must not be negative, got {self.below_db}")
        if not 0 < self.speech_ms <= self.certain_ms or self.gap_ms < 0:
            raise ValueError(
                "0 < speech_ms <= certain_ms and 0 <= gap_ms must hold, "
                f"got {self.speech_ms}, {self.certain_ms} and {self.gap_ms}"
            )


class InterruptionJudge:
    """One call's judge; all its times are sample times at 16 kHz."""

    def __init__(self, config: InterruptionConfig) -> None:
        self._cues = Cues(default_probe())
        self._evidence = Evidence(config)

    def learn(self, samples: Samples, probability: float) -> None:
        """Take a VAD frame while no answer sounds: it tells how loud this caller speaks. Without
        any, sounds are judged at all levels alike."""
        self._cues.learn(samples, probability)

    def hear(self, samples: Samples, probability: float, answer: Samples | None) -> bool:
        """Take one VAD frame of the caller, 512 samples at 16 kHz, and what is known of it.

        Args:
            probability: of speech in the frame.
            answer: what of the answer is believed to sound at the caller during the frame, at
                16 kHz and of the same length; None if nothing sounds or it is not known. At the
                microphone it may be 50 ms earlier to 400 ms later.

        Returns:
            Whether, in the speech going on, there is enough evidence of an interruption.
        """
        return self._evidence.weigh(self._cues.hear(samples, probability, answer))

    @property
    def heard_caller(self) -> bool:
        """Whether there was speech of the caller's own, not our echo and near enough, in the last
        second and since the last `reset`."""
        return self._evidence.since_own_ms <= 1000

    def reset(self) -> None:
        """The speech that was judged is over, or taken for an interruption. What is known of the
        caller's level and of the echo stays."""
        self._evidence.reset()


class Evidence:
    """The decision from the cues alone, so that a benchmark can try many of them on the same."""

    def __init__(self, config: InterruptionConfig) -> None:
        self._config = config
        self._speech_ms = 0
        self._gap_ms = 0
        self.since_own_ms = NEVER_MS  # since ``OWN_MS`` of the caller's own speech

    def weigh(self, cue: Cue) -> bool:
        """Take the next frame's cue; see `InterruptionJudge.hear`."""
        config = self._config
        if self._is_callers(cue):
            self._speech_ms += FRAME_MS
            self._gap_ms = 0
        else:
            self._gap_ms += FRAME_MS
            if self._gap_ms > config.gap_ms:
                self._speech_ms = 0
        self.since_own_ms = 0 if self._speech_ms >= OWN_MS else self.since_own_ms + FRAME_MS
        if self._speech_ms >= config.certain_ms:
            return True
        likely = cue.interrupts is not None and cue.interrupts >= config.interrupts
        return self._speech_ms >= config.speech_ms and likely

    def reset(self) -> None:
        """Begin anew."""
        self._speech_ms = self._gap_ms = 0
        self.since_own_ms = NEVER_MS

    def _is_callers(self, cue: Cue) -> bool:
        config = self._config
        near = cue.level_db is None or cue.level_db >= -config.below_db
        return (
            cue.probability >= config.threshold and cue.unexplained >= config.unexplained and near
        )


# Longer than this, it is no backchannel, whatever its words.
_LONGEST_BACKCHANNEL_MS = 1500

_BACKCHANNELS = (
    "mm hmm|mm hm|mhm|mmhmm|mm|mmm|hm|hmm|hmmm|m hm|mm mm|uh huh|uhhuh|um hum|um hmm|huh"
    "|uh|um|ah|aha"
    "|oh|ooh|oh wow|wow|eh|er|erm|yeah|yea|yep|yup|ya|yes|okay|ok|k|right|all right|alright|sure"
    "|i see|i know|i understand|got it|gotcha|of course|exactly|true|that's right|that's true"
    "|makes sense|that makes sense|cool|nice|great|good|fine|interesting|really"
    "|oh really|absolutely|definitely|indeed|totally|ha|haha|hah|hehe|heh|hahaha|lol|you"
)
_PHRASES = frozenset(phrase for phrase in _BACKCHANNELS.split("|"))
_LONGEST_PHRASE = max(len(phrase.split()) for phrase in _PHRASES)
# What Whisper writes for sounds: "(laughing)", "[cough]", "*sigh*", and music signs.
_SOUND = re.compile(r"\([^)]*\)|\[[^\]]*\]|\*[^*]*\*|[♪♫]")
_LAUGH = re.compile(r"(?:ha|he|ho|hee|ah|eh|hah|heh){2,}h?|ha|hah|heh")
_STUTTER = re.compile(r"([a-z])(?: \1)+")  # "T-T-T-T"

_GO_ON = re.compile(
    r"(?:(?:oh|sorry|no|yes|yeah|okay|ok|please|and|so|just|you can|could you|can you|then|well) )*"
    r"(?:go on|go ahead|carry on|keep going|keep talking|continue|please do|tell me more"
    r"|what were you saying|you were saying|(?:don't|do not) stop|finish(?: that| it)?)"
    r"(?: (?:please|then|now|sorry|with (?:that|it|what you were saying)|what you were saying))*"
)


def is_false_interruption(words: str, speech_ms: int) -> bool:
    """Whether words over an answer leave the answer its turn.

    Args:
        words: the exact transcript of what was said over it; "" if nothing was understood.
        speech_ms: how long it was.
    """
    said = _normal(_SOUND.sub(" ", words))
    if not said or _STUTTER.fullmatch(said) or all(map(_LAUGH.fullmatch, said.split())):
        return True
    return speech_ms <= _LONGEST_BACKCHANNEL_MS and _only_backchannels(said.split())


def asks_to_go_on(words: str) -> bool:
    """Whether the caller asks for the rest of an answer: "go on", "sorry, please continue"."""
    return _GO_ON.fullmatch(_normal(words)) is not None


def _normal(words: str) -> str:
    """Lower case, without marks other than apostrophes, single spaces."""
    return " ".join(re.findall(r"[a-z0-9']+", words.lower().replace("’", "'")))


def _only_backchannels(words: list[str]) -> bool:
    while words:
        for count in range(min(_LONGEST_PHRASE, len(words)), 0, -1):
            phrase = " ".join(words[:count])
            if phrase in _PHRASES or (count == 1 and _LAUGH.fullmatch(phrase)):
                words = words[count:]
                break
        else:
            return False
    return True
