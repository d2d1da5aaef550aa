"""Whether a caller who makes a sound over a reply interrupts it, by its sound.

The judge hears frames and decides while the caller is still in the first syllable. When they pause,
`duplex.interruption.words` judges a second time, by what was said.
"""

from dataclasses import dataclass

from duplex.audio.formats import Samples
from duplex.interruption.cues import Cue, Cues, Utterance
from duplex.interruption.network import first_syllable, whole_utterance

FRAME_MS = 32  # of `InterruptionJudge.hear`: 512 samples at 16 kHz
OWN_MS = 96  # of the caller's own speech, which is more than a click
NEVER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class InterruptionConfig:
    """How much evidence an interruption needs.

    A frame counts as the caller's if its probability of speech is at least ``threshold``, at
    least ``unexplained`` of its power is not our echo, and it is not more than ``below_db``
    quieter than the caller's usual speech. ``certain_ms`` of such frames, with no gap longer than
    ``gap_ms``, convince the judge. So do ``speech_ms`` if the networks for the first syllable
    give the sound ``surely`` in its first ``early_ms``, or ``interrupts`` later. The voice activity
    detector is slow to believe shouts, so ``sounds`` is enough of a frame for that, and ``keeps``
    of the next.

    The defaults are set low: a reply that was stopped falsely goes on when the words are known,
    and an interruption that is ignored cannot be made good. Decision record 0006 says how they
    were chosen and what they are worth.
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
    """Judges the sounds that the caller of one call makes over replies.

    Feed it every frame: `learn` while no reply sounds, `hear` while one does. All times are sample
    times at 16 kHz.
    """

    def __init__(self, config: InterruptionConfig) -> None:
        self._cues = Cues(first_syllable())
        self._evidence = Evidence(config)
        self._utterance = Utterance()

    def learn(self, samples: Samples, probability: float) -> None:
        """Take a VAD frame while no reply sounds: it shows how loud this caller speaks. Without
        any, sounds of all levels are judged alike."""
        self._cues.learn(samples, probability)

    def hear(self, samples: Samples, probability: float, reply: Samples | None) -> bool:
        """Take one VAD frame of the caller, 512 samples at 16 kHz, and what is known of it.

        Args:
            probability: of speech in the frame.
            reply: what of the reply is believed to sound at the caller during the frame, at
                16 kHz and of the same length; None if nothing sounds or it is not known. At the
                microphone it may be 50 ms earlier to 400 ms later.

        Returns:
            Whether, in the speech going on, there is enough evidence of an interruption.
        """
        cue = self._cues.hear(samples, probability, reply)
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
        return None if features is None else whole_utterance().run(features)

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
