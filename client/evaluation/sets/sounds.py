"""Questions about sounds that are made on the spot, so that the right answer is known.

The words are of no help in them, or say the contrary of the sound (``conflict``). Each question is
asked twice: with the sound, and with a transcript in its place. What is right with the sound and
wrong with the transcript is the use that a model makes of hearing.

Level is only ever compared within a clip: Whisper's features are clipped at the maximum less 8, so
an absolute one is lost.
"""

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np

from client.evaluation.items import Item, Part, Samples, Sound, Speaker
from client.evaluation.sets import clips
from client.evaluation.sets.drafts import Draft, Measure, Render

INSTRUCTIONS = (
    "You hear a recording and answer one question about it. Listen to the sound itself: the words "
    "in it may be wrong. Answer with nothing but the answer."
)
SENTENCES = (
    "The train to the city leaves at noon.",
    "We walked along the river yesterday.",
    "The bread is on the kitchen table.",
    "My sister bought a yellow umbrella.",
    "The library closes early on Friday.",
    "They painted the garden fence green.",
)
STATEMENTS = ("You are coming tomorrow.", "It is already late.", "She has seen the letter.")
COUNTS = ("one", "two", "three", "four", "five", "six")
LOW, HIGH = -2, 4  # semitones of the two voices
RISE, FALL = 2.0, 0.7  # of the pitch at the end; a voice falls there by itself, too

Random = np.random.Generator


def draft(kind: str, seed: int, number: int) -> Draft:
    """Question ``number`` of a kind in `KINDS`, or of ``agreement``: the sentences of ``conflict``,
    but true of their sound.

    Raises:
        ValueError: there is no such kind.
    """
    makers = KINDS | {"agreement": _agreement}
    if kind not in makers:
        raise ValueError(f"there is no kind {kind}; there are {', '.join(makers)}")
    which = list(makers).index(kind)
    return makers[kind](np.random.default_rng([seed, which, number]), number)


def load(count: int, seed: int, speaker: Speaker) -> list[Item]:
    """``count`` questions of all kinds in turn, each in two conditions. With a larger count the
    same ones come first."""
    items: list[Item] = []
    kinds = list(KINDS)
    for index in range(count):
        number, which = divmod(index, len(kinds))
        category = kinds[which]
        made = draft(category, seed, number)
        sound = Sound(_bound(made.render, speaker), made.words)
        told = f'The recording says: "{made.words}"'
        instead = told if made.words else "The recording has no words, only sounds."
        asked: tuple[tuple[str, Part], ...] = (("sound", sound), ("transcript", instead))
        items += [
            Item(
                id=f"{category}-{number}",
                condition=condition,
                category=category,
                parts=(part, made.question),
                scorer=made.scorer,
                gold=made.gold,
                instructions=INSTRUCTIONS,
                chance=made.chance,
            )
            for condition, part in asked
        ]
    return items


def _bound(render: Render, speaker: Speaker) -> Callable[[], Samples]:
    return lambda: render(speaker)


def _choice(
    render: Render,
    question: str,
    answer: str,
    choices: dict[str, Sequence[str]],
    words: str = "",
    measured: Sequence[Measure] = (),
) -> Draft:
    """A question with a few answers; ``choices``: each with the words that mean it."""
    *others, last = choices
    asked = f"{question} Answer with one word: {', '.join(others)} or {last}."
    gold = {"answer": answer, "choices": {name: list(alike) for name, alike in choices.items()}}
    return Draft(render, words, asked, "choice", gold, 1 / len(choices), tuple(measured))


def _number(
    render: Render,
    question: str,
    answer: int,
    chance: float,
    words: str = "",
    measured: Sequence[Measure] = (),
) -> Draft:
    asked = f"{question} Answer with one number."
    return Draft(render, words, asked, "number", {"answer": answer}, chance, tuple(measured))


def _of_voices(*semitones: int) -> list[Measure]:
    """Which voices are heard, one after the other."""
    return [Measure("voice", "high" if number == HIGH else "low") for number in semitones]


def _of_levels(start_db: float, end_db: float) -> list[Measure]:
    return [Measure("level", start_db, "db"), Measure("level", end_db, "db")]


RISES = ("rising", "rises", "rise", "up", "higher", "upward", "upwards")
FALLS = ("falling", "falls", "fall", "down", "lower", "downward", "downwards")
STEADY = ("steady", "same", "constant", "flat", "even", "level", "unchanged")
FASTER = ("faster", "fast", "quicker", "quickly", "accelerating")
SLOWER = ("slower", "slow", "slowly", "slowing")
LOUDER = ("louder", "loud", "increasing")
SOFTER = ("softer", "soft", "quieter", "quiet", "decreasing")


def _pitch(random: Random, number: int) -> Draft:
    answer = ("rising", "falling", "steady")[number % 3]
    low = float(random.uniform(150, 400))
    ratio = float(random.uniform(1.5, 2.2))
    ends = {"rising": (low, low * ratio), "falling": (low * ratio, low), "steady": (low, low)}
    length = float(random.uniform(1.2, 2.5))
    return _choice(
        lambda _: clips.framed(clips.glide(*ends[answer], length)),
        "What does the pitch of the tone do?",
        answer,
        {"rising": RISES, "falling": FALLS, "steady": STEADY},
        measured=[Measure("pitch", hz, "hz") for hz in ends[answer]],
    )


def _count(random: Random, number: int) -> Draft:
    answer = number % 6 + 1
    gaps = random.uniform(0.15, 0.4, answer)
    hz = float(random.uniform(400, 900))
    return _number(
        lambda _: clips.framed(
            *(piece for gap in gaps for piece in (clips.tone(hz, 0.15), clips.silence(gap)))
        ),
        "How many beeps are there?",
        answer,
        1 / 6,
        measured=[
            Measure("beep", 0.3 + 0.15 * index + float(gaps[:index].sum()), "s")
            for index in range(answer)
        ],
    )


def _order(random: Random, number: int) -> Draft:
    order = list(permutations(("bell", "noise", "siren")))[number % 6]
    noise_seed = int(random.integers(1 << 31))

    def render(_: Speaker) -> Samples:
        noise = clips.hiss(0.8, np.random.default_rng(noise_seed))
        sounds = {"bell": clips.bell(620, 0.9), "noise": noise, "siren": clips.siren(1.0)}
        pieces = [piece for name in order for piece in (sounds[name], clips.silence(0.25))]
        return clips.framed(*pieces)

    return Draft(
        render,
        "",
        "There are a bell, a siren and a noise. In which order do they come? Answer with the three "
        "words in order.",
        "order",
        {"answer": list(order), "alike": {"noise": ["hiss", "static"]}},
        1 / 6,
        tuple(Measure("sound", name) for name in order),
    )


def _tempo(random: Random, number: int) -> Draft:
    answer = ("faster", "slower", "steady")[number % 3]
    first = float(random.uniform(0.3, 0.4))
    change = {"faster": 0.8, "slower": 1.25, "steady": 1.0}[answer]
    gaps = [first * (1 if change <= 1 else 0.5) * change**step for step in range(7)]
    return _choice(
        lambda _: clips.framed(
            *(p for gap in gaps for p in (clips.tone(1000, 0.05), clips.silence(gap)))
        ),
        "Does the beat get faster, get slower or stay steady?",
        answer,
        {"faster": FASTER, "slower": SLOWER, "steady": STEADY},
        measured=[Measure("gap", gaps[0], "s"), Measure("gap", gaps[-1], "s")],
    )


def _loudness(random: Random, number: int) -> Draft:
    answer = ("louder", "softer")[number % 2]
    words = str(random.choice(SENTENCES))
    ends = (-20.0, 0.0) if answer == "louder" else (0.0, -20.0)
    return _choice(
        lambda speak: clips.framed(clips.fade(clips.trimmed(speak(words)), *ends)),
        "Does the voice get louder or softer?",
        answer,
        {"louder": LOUDER, "softer": SOFTER},
        words,
        _of_levels(*ends),
    )


def _longest(random: Random, number: int) -> Draft:
    answer = number % 6 + 1
    lengths = random.uniform(0.15, 0.3, 6)
    lengths[answer - 1] = 0.6
    pause = clips.silence(0.25)
    return _number(
        lambda _: clips.framed(*(p for s in lengths for p in (clips.tone(600, s), pause))),
        "There are six beeps. Which one is the longest, the first, the second and so on to 6?",
        answer,
        1 / 6,
        measured=[Measure("length", float(seconds), "s") for seconds in lengths],
    )


def _speakers(random: Random, number: int) -> Draft:
    answer = ("one", "two")[number % 2]
    first, second = random.choice(SENTENCES, 2, replace=False)
    voices = [LOW, HIGH]
    random.shuffle(voices)
    then = voices[1] if answer == "two" else voices[0]
    return _choice(
        lambda speak: clips.framed(
            speak(str(first), semitones=voices[0]), speak(str(second), semitones=then)
        ),
        "Does one person speak, or do two people speak?",
        answer,
        {"one": ("one", "1", "single", "same"), "two": ("two", "2", "both")},
        f"{first} {second}",
        _of_voices(voices[0], then),
    )


def _intonation(random: Random, number: int) -> Draft:
    answer = ("rising", "falling")[number % 2]
    words = str(random.choice(STATEMENTS))
    factor = RISE if answer == "rising" else FALL
    return _choice(
        lambda speak: clips.framed(clips.bend_end(clips.trimmed(speak(words)), factor)),
        "Does the pitch of the voice rise or fall at the end?",
        answer,
        {"rising": RISES, "falling": FALLS},
        words,
        [Measure("end", factor, "x")],
    )


def _sum(random: Random, number: int) -> Draft:
    """Two steps: which voice is higher, and then the sum or the difference."""
    small, large = sorted(int(n) for n in random.choice(np.arange(1, 10), 2, replace=False))
    adds = number % 2 == 0
    voices = (LOW, HIGH) if adds else (HIGH, LOW)
    words = (COUNT_WORDS[large], COUNT_WORDS[small])

    def render(speak: Speaker) -> Samples:
        spoken = [
            clips.trimmed(speak(f"{w}.", semitones=v)) for w, v in zip(words, voices, strict=True)
        ]
        return clips.framed(spoken[0], clips.silence(0.5), spoken[1])

    return _number(
        render,
        "Two voices say a number each. If the second voice is higher, add the two numbers. If it "
        "is lower, subtract the second number from the first. What is the result?",
        large + small if adds else large - small,
        0.5,  # whoever knows the numbers and guesses the voice
        f"{words[0]}. {words[1]}.",
        [
            Measure("number", large),
            *_of_voices(voices[0]),
            Measure("number", small),
            *_of_voices(voices[1]),
        ],
    )


COUNT_WORDS = ("", *COUNTS, "seven", "eight", "nine")


def _conflict(random: Random, number: int) -> Draft:
    """The words say one thing and the sound another."""
    turned = bool(number // 4 % 2)
    return _claim(random, number % 4, says=not turned, is_so=turned)


def _agreement(random: Random, number: int) -> Draft:
    """The words say what the sound is."""
    turned = bool(number // 4 % 2)
    return _claim(random, number % 4, says=turned, is_so=turned)


def _claim(random: Random, kind: int, *, says: bool, is_so: bool) -> Draft:
    """A sentence about its own sound: up, louder, slow or two of us; or, not so, the contrary."""
    if kind == 0:
        return _claim_pitch(says, is_so)
    if kind == 1:
        return _claim_level(says, is_so)
    if kind == 2:
        return _claim_pace(says, is_so)
    return _claim_voices(random, says, is_so)


def _claim_pitch(says: bool, is_so: bool) -> Draft:
    words = f"Now my voice goes {'up' if says else 'down'} at the end."
    factor = RISE if is_so else FALL
    return _choice(
        lambda speak: clips.framed(clips.bend_end(clips.trimmed(speak(words)), factor)),
        "Does the pitch of the voice rise or fall at the end?",
        "rising" if is_so else "falling",
        {"rising": RISES, "falling": FALLS},
        words,
        [Measure("end", factor, "x")],
    )


def _claim_level(says: bool, is_so: bool) -> Draft:
    words = f"My voice is getting {'louder and louder' if says else 'softer and softer'}."
    ends = (-20.0, 0.0) if is_so else (0.0, -20.0)
    return _choice(
        lambda speak: clips.framed(clips.fade(clips.trimmed(speak(words)), *ends)),
        "Does the voice get louder or softer?",
        "louder" if is_so else "softer",
        {"louder": LOUDER, "softer": SOFTER},
        words,
        _of_levels(*ends),
    )


def _claim_pace(says: bool, is_so: bool) -> Draft:
    words = f"I am speaking very {'slowly' if says else 'quickly'} now, as you can hear."
    speed = 0.6 if is_so else 1.7
    return _choice(
        lambda speak: clips.framed(speak(words, speed=speed)),
        "Is this spoken fast or slowly?",
        "slow" if is_so else "fast",
        {"fast": FASTER, "slow": SLOWER},
        words,
        [Measure("pace", speed, "x")],
    )


def _claim_voices(random: Random, says: bool, is_so: bool) -> Draft:
    first = "There are two of us here." if says else "There is only one of us here."
    then = "Now the other one is speaking." if says else "I am alone."
    voices = (LOW, HIGH if is_so else LOW)
    if random.integers(2):
        voices = (HIGH, LOW if is_so else HIGH)
    return _choice(
        lambda speak: clips.framed(
            speak(first, semitones=voices[0]), speak(then, semitones=voices[1])
        ),
        "Does one person speak, or do two people speak?",
        "two" if is_so else "one",
        {"one": ("one", "1", "single", "same"), "two": ("two", "2", "both")},
        f"{first} {then}",
        _of_voices(*voices),
    )


KINDS: dict[str, Callable[[Random, int], Draft]] = {
    "pitch": _pitch,
    "count": _count,
    "order": _order,
    "tempo": _tempo,
    "loudness": _loudness,
    "length": _longest,
    "speakers": _speakers,
    "intonation": _intonation,
    "sum": _sum,
    "conflict": _conflict,
}
