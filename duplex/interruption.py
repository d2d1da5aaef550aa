"""Whether a caller who makes a sound during an answer interrupts it: first by sound, then by words.

The judge hears frames and decides while the caller is still in the first syllable. When they pause,
`is_false_interruption` says by the words, and by the sound of all that was said, whether the answer
should go on after all. Both are pure. The words are for English.
"""

import re
from dataclasses import dataclass

from duplex.cues import Cue, Cues, Utterance
from duplex.pcm import Samples
from duplex.probe import default_probe, default_verdict

FRAME_MS = 32  # of `InterruptionJudge.hear`: 512 samples at 16 kHz
OWN_MS = 96  # of the caller's own speech, which is more than a click
NEVER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class InterruptionConfig:
    """How much evidence an interruption needs.

    A frame counts as the caller's if its probability of speech is at least ``threshold``, at
    least ``unexplained`` of its power is not our echo, and it is not more than ``below_db``
    quieter than the caller's usual speech. ``certain_ms`` of such frames, with no gap longer than
    ``gap_ms``, convince the judge. So do ``speech_ms`` if the networks of `probe` give the sound
    ``surely`` in its first ``early_ms``, or ``interrupts`` later; the voice activity detector is
    slow to believe shouts, so ``sounds`` is enough of a frame for that, and ``keeps`` of the next.

    The defaults are chosen by cross-validation on the voices that the networks are trained on. What
    they are worth is in benchmarks/results/interruptions.json: 200 interruptions and 360 other
    sounds over an answer, most of them synthetic, by voices that the networks do not know. 198
    interruptions stop the answer, after 157 ms at the median and 332 ms at the 95th percentile (in
    sample time, without transport), 92.5 % of all within 300 ms; of the 13 slower ones 11 are lines
    that actors shout in a game, which the voice activity detector itself is slow to hear. 22.5 % of
    the other sounds stop it, nearly all of them "yeah", "I see" and laughter: as early as that they
    sound like words that interrupt. Without the networks 64 % do, and with voice activity alone
    76 %, which the echo also sets off before 58 of the interruptions have begun. ``interrupts`` of
    0.2 reaches 300 ms and has 34 %, 0.7 has 13 % and 436 ms, 0.9 has 8 % and 745 ms. It is set low
    since an answer that was stopped falsely goes on when the words are known, which leaves 3.6 %
    that are lost; an interruption that is ignored cannot be made good.
    """

    threshold: float = 0.5
    sounds: float = 0.3
    keeps: float = 0.2
    unexplained: float = 0.5
    below_db: float = 15.0
    speech_ms: int = 96
    gap_ms: int = 64
    early_ms: int = 160
    surely: float = 0.9
    interrupts: float = 0.44
    certain_ms: int = 800

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")
        if not 0 < self.keeps <= self.sounds <= 1:
            raise ValueError(
                f"0 < keeps <= sounds <= 1 must hold, got {self.keeps} and {self.sounds}"
            )
        for name in ("unexplained", "surely", "interrupts"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("below_db", "gap_ms", "early_ms"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.speech_ms <= self.certain_ms:
            raise ValueError(
                f"0 < speech_ms <= certain_ms must hold, got {self.speech_ms} and {self.certain_ms}"
            )


class InterruptionJudge:
    """One call's judge; all its times are sample times at 16 kHz."""

    def __init__(self, config: InterruptionConfig) -> None:
        self._cues = Cues(default_probe())
        self._evidence = Evidence(config)
        self._utterance = Utterance()

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
        cue = self._cues.hear(samples, probability, answer)
        self._utterance.take(cue)
        return self._evidence.weigh(cue)

    @property
    def heard_caller(self) -> bool:
        """Whether there was speech of the caller's own, not our echo and near enough, in the last
        second and since the last `reset`."""
        return self._evidence.since_own_ms <= 1000

    @property
    def sounds_false(self) -> float | None:
        """How likely it is by its sound, 0 to 1, that all that was said since the last `reset` is
        no interruption; None if there was nothing, or more than 2 s."""
        features = self._utterance.features
        return None if features is None else default_verdict().run(features)

    def reset(self) -> None:
        """The speech that was judged is over. What is known of the caller's level and of the echo
        stays."""
        self._evidence.reset()
        self._utterance.reset()


class Evidence:
    """The decision from the cues alone, so that a benchmark can try many of them on the same."""

    def __init__(self, config: InterruptionConfig) -> None:
        self._config = config
        self._speech = _Lasting(config.threshold, config.threshold, config.gap_ms)
        self._sound = _Lasting(config.sounds, config.keeps, config.gap_ms)
        self._followed_ms = 0  # since the sound began that the networks follow
        self.since_own_ms = NEVER_MS  # since ``OWN_MS`` of the caller's own speech

    def weigh(self, cue: Cue) -> bool:
        """Take the next frame's cue; see `InterruptionJudge.hear`."""
        config = self._config
        near = cue.level_db is None or cue.level_db >= -config.below_db
        is_own = near and cue.unexplained >= config.unexplained
        speech_ms = self._speech.take(cue.probability, is_own=is_own)
        sound_ms = self._sound.take(cue.probability, is_own=is_own)
        self.since_own_ms = 0 if speech_ms >= OWN_MS else self.since_own_ms + FRAME_MS
        self._followed_ms = 0 if cue.interrupts is None else self._followed_ms + FRAME_MS
        if speech_ms >= config.certain_ms:
            return True
        least = config.surely if self._followed_ms <= config.early_ms else config.interrupts
        likely = cue.interrupts is not None and cue.interrupts >= least
        return sound_ms >= config.speech_ms and likely

    def reset(self) -> None:
        """Begin anew."""
        self._speech.ms = self._sound.ms = self._followed_ms = 0
        self.since_own_ms = NEVER_MS


class _Lasting:
    """How long the caller's speech has lasted, with gaps up to ``gap_ms``: it begins with a
    frame of probability ``begins`` and goes on with frames of ``keeps``."""

    def __init__(self, begins: float, keeps: float, gap_ms: int) -> None:
        self._begins, self._keeps, self._longest_gap_ms = begins, keeps, gap_ms
        self._gap_ms = 0
        self.ms = 0

    def take(self, probability: float, *, is_own: bool) -> int:
        """The next frame; the speech that it has now, in ms."""
        if is_own and probability >= (self._keeps if self.ms else self._begins):
            self.ms += FRAME_MS
            self._gap_ms = 0
        else:
            self._gap_ms += FRAME_MS
            if self._gap_ms > self._longest_gap_ms:
                self.ms = 0
        return self.ms


# Longer than this, it is no backchannel, whatever its words.
_LONGEST_BACKCHANNEL_MS = 1500

# Up to here the sound may say so too, if it is as sure as that, against words that are not among
# the unmistakable: what was heard of a short utterance is often wrong ("mhm" is "and they can").
# With the words alone 6.1 % of the answers are lost instead of 3.6 %; 6 of the 198 interruptions
# are wrongly taken back instead of 8, and of 39 as short as a backchannel 2 instead of 3.
_LONGEST_BY_SOUND_MS = 1200
SURELY_FALSE = 0.7
_UNMISTAKABLE = re.compile(
    r"\b(?:stop|wait|no|nope|not|never|hold|hang|pause|quiet|shut|enough|cancel|skip|back|again"
    r"|what|what's|why|who|when|where|which|how|sorry|pardon|excuse|hey|hello|bye|listen|actually"
    r"|but|please|thanks|thank|tell|show|give|repeat|moment|minute|second|question|too|instead)\b"
    r"|^(?:can|could|would|will|may|is|are|do|does|did)\b"
)

_HUMMED = (
    "mm hmm|mm hm|mhm|mmhmm|mm|mmm|hm|hmm|hmmm|m hm|mm mm|uh huh|uhhuh|um hum|um hmm|huh|uh|um|ah"
    "|aha|oh|ooh|wow|eh|er|erm"
)
_AGREED = (
    "oh wow|yeah|yea|yep|yup|ya|yes|okay|ok|k|right|all right|alright|sure|i see|i know"
    "|i understand|got it|gotcha|of course|exactly|true|that's right|that's true|makes sense"
    "|that makes sense|cool|nice|great|good|fine|interesting|really|oh really|absolutely"
    "|definitely|indeed|totally|ha|haha|hah|hehe|heh|hahaha|lol|you"
)
_HUMS = frozenset(phrase for phrase in _HUMMED.split("|"))
_PHRASES = _HUMS | frozenset(phrase for phrase in _AGREED.split("|"))
_LONGEST_PHRASE = max(len(phrase.split()) for phrase in _PHRASES)
# What Whisper writes for sounds: "(laughing)", "[cough]", "*sigh*", and music signs.
_SOUND = re.compile(r"\([^)]*\)|\[[^\]]*\]|\*[^*]*\*|[♪♫]")
_LAUGH = re.compile(r"(?:ha|he|ho|hee|ah|eh|hah|heh){2,}h?|ha|hah|heh")
_STUTTER = re.compile(r"([a-z])(?: \1)+")  # "T-T-T-T"

_ASKED = re.compile(r"\?[^\w\s]*(?:\s+\S+){0,2}\s*$")

_GO_ON = re.compile(
    r"(?:(?:oh|sorry|no|yes|yeah|okay|ok|please|and|so|just|you can|could you|can you|then|well) )*"
    r"(?:go on|go ahead|carry on|keep going|keep talking|continue|please do|tell me more"
    r"|what were you saying|you were saying|(?:don't|do not) stop|finish(?: that| it)?)"
    r"(?: (?:please|then|now|sorry|with (?:that|it|what you were saying)|what you were saying))*"
)


def is_false_interruption(
    words: str, speech_ms: int, sounds_false: float | None = None, *, is_asked: bool = False
) -> bool:
    """Whether words over an answer leave the answer its turn.

    Args:
        words: the exact transcript of what was said over it; "" if nothing was understood.
        speech_ms: how long it was.
        sounds_false: what `InterruptionJudge.sounds_false` says of it.
        is_asked: the answer had just asked something: "yes" is for it then. See `has_asked`.
    """
    said = _normal(_SOUND.sub(" ", words))
    if not said or _STUTTER.fullmatch(said) or all(map(_LAUGH.fullmatch, said.split())):
        return True
    if is_asked:
        return False
    if speech_ms <= _LONGEST_BACKCHANNEL_MS and _only(_PHRASES, said.split()):
        return True
    is_short = speech_ms <= _LONGEST_BY_SOUND_MS and not _UNMISTAKABLE.search(said)
    return is_short and sounds_false is not None and sounds_false >= SURELY_FALSE


def is_hum(words: str) -> bool:
    """Whether nothing was said but "mm-hm", "oh" and the like, which ask for no answer."""
    return _only(_HUMS, _normal(words).split())


def has_asked(heard: str) -> bool:
    """Whether what was heard of an answer ends in a question, or was two words past one."""
    return _ASKED.search(heard) is not None


def asks_to_go_on(words: str) -> bool:
    """Whether the caller asks for the rest of an answer: "go on", "sorry, please continue"."""
    return _GO_ON.fullmatch(_normal(words)) is not None


def _normal(words: str) -> str:
    """Lower case, without marks other than apostrophes, single spaces."""
    return " ".join(re.findall(r"[a-z0-9']+", words.lower().replace("’", "'")))


def _only(phrases: frozenset[str], words: list[str]) -> bool:
    while words:
        for count in range(min(_LONGEST_PHRASE, len(words)), 0, -1):
            phrase = " ".join(words[:count])
            if phrase in phrases or (count == 1 and _LAUGH.fullmatch(phrase)):
                words = words[count:]
                break
        else:
            return False
    return True
