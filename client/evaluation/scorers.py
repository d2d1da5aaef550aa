"""Rules that tell whether an answer is right: text and gold in, a score out, nothing else.

Thoughts are cut off first. An answer in which the wanted form is not found is ``is_invalid`` and
counts as wrong; how many those are stands in the report.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from client.bench.word_errors import normalize_words
from client.evaluation import ifeval_rules
from client.evaluation.score import INVALID, Gold, Score

MARKER = re.compile(r"answer\s*(?:is|:|=)+\s*:?|####", re.IGNORECASE)
NUMBER = re.compile(r"(?<![\w.])-?\$?(\d[\d,]*(?:\.\d+)?|\.\d+)")
ORDINALS = {
    word: str(number)
    for number, word in enumerate(("first", "second", "third", "fourth", "fifth", "sixth"), start=1)
}
LETTERS = "ABCDEFGHIJ"


def split_thought(text: str) -> tuple[str, str]:
    """Thought and answer of a text in which both stand. A thought that never ends is no answer."""
    thought, mark, answer = text.rpartition("</think>")
    if mark:
        return thought.replace("<think>", "").strip(), answer.strip()
    before, mark, open_thought = text.partition("<think>")
    return (open_thought.strip(), before.strip()) if mark else ("", text.strip())


def choice(answer: str, gold: Gold) -> Score:
    """One of a few answers, each known by some words (``choices``).

    What counts is what follows the last "the answer is"; without that the first word, if it is
    one; else the only one that is named. Several without a word on which is meant are invalid.
    """
    names = {alike: name for name, all_ in gold["choices"].items() for alike in all_}
    phrases = "|".join(re.escape(words) for words in sorted(names, key=len, reverse=True))
    pattern = re.compile(rf"\b(?:{phrases})\b", re.IGNORECASE)
    text = _plain(answer)
    marked = _after_marker(text)
    found = None if marked is None else pattern.search(marked)
    found = found or pattern.match(text.lstrip(" \"'("))
    if found is not None:
        picked = names[found[0].lower()]
    else:
        named = {names[one.lower()] for one in pattern.findall(text)}
        if len(named) != 1:
            return INVALID
        picked = named.pop()
    return Score(float(picked == gold["answer"]), picked)


def number(answer: str, gold: Gold) -> Score:
    """A number: the one after the last "the answer is" or "####", else the last one; equal as a
    number, with units and thousands separators ignored, number words read as digits.

    As AudioBench scores Spoken-MQA (src/dataset_src/math_utils).
    """
    marked = _after_marker(answer)
    found = None
    if marked is not None:
        found = next(iter(_numbers(marked.rpartition("=")[2])), None)
    if found is None and (numbers := _numbers(answer)):
        found = numbers[-1]
    if found is None:
        return INVALID
    return Score(float(abs(found - float(gold["answer"])) < 1e-6), f"{found:g}")


def order(answer: str, gold: Gold) -> Score:
    """All words in the right order, each at its first mention; ``alike`` has other words for
    them."""
    text = _plain(answer).lower()
    alike = gold.get("alike", {})
    at = {}
    for name in gold["answer"]:
        words = "|".join(re.escape(word) for word in (name, *alike.get(name, ())))
        if not (found := re.search(rf"\b(?:{words})", text)):
            return INVALID
        at[name] = found.start()
    picked = sorted(at, key=lambda name: at[name])
    return Score(float(picked == list(gold["answer"])), ", ".join(picked))


def mentions(answer: str, gold: Gold) -> Score:
    """Any of ``answers`` stands in it as a run of tokens.

    ``has_answer`` of DPR, as UltraEval-Audio's qa_exact_match has it: NFD, case folded, tokens
    are runs of letters and digits or single other signs.
    """
    said = _tokens(answer)
    if not said:
        return INVALID
    for accepted in gold["answers"]:
        wanted = _tokens(accepted)
        if wanted and any(
            said[start : start + len(wanted)] == wanted for start in range(len(said))
        ):
            return Score(1.0, accepted)
    return Score(0.0)


def first_word(answer: str, gold: Gold) -> Score:
    """The first word that is among ``among``, or without these the first whole number."""
    if "among" in gold:
        words = "|".join(gold["among"])
        found = re.search(rf"\b(?:{words})\b", _plain(answer), re.IGNORECASE)
        if found is None:
            return INVALID
        picked = found[0].lower()
        return Score(float(picked == str(gold["answer"]).lower()), picked)
    numbers = _numbers(answer)
    if not numbers:
        return INVALID
    return Score(float(numbers[0] == float(gold["answer"])), f"{numbers[0]:g}")


def letter(answer: str, gold: Gold) -> Score:
    """The letter of one of ``options`` (A is the first): in front, or after "the answer is"; else
    the text of one option alone. The gold is the option's text or its letter."""
    options = [str(option) for option in gold["options"]]
    wanted = _letter_of(str(gold["answer"]), options)
    known = LETTERS[: len(options)]
    text = answer.strip()
    # "A man" begins with an article, not with a letter.
    alone = rf"[\s(*\"']*(?:[Oo]ption\s+)?([{known}])(?![\w'])(?!(?<=A)\s+[a-z])"
    found = re.match(alone, text)
    if found is None and (marked := _after_marker(text)) is not None:
        found = re.match(alone, marked)
    if found is not None:
        picked: str | None = found[1]
    else:
        picked = _letter_of(text, options) or _only_option(text, options)
    return INVALID if picked is None else Score(float(picked == wanted), picked)


def word_sets(answer: str, gold: Gold) -> Score:
    """All words of the right option are said, and none that only other options have.

    As MMAU's and MMAR's evaluation.py (string_match).
    """
    said = set(re.findall(r"\b\w+\b", answer.lower()))
    if not said:
        return INVALID
    right = set(re.findall(r"\b\w+\b", str(gold["answer"]).lower()))
    others: set[str] = set()
    for option in gold["options"]:
        words = set(re.findall(r"\b\w+\b", str(option).lower()))
        if words != right:
            others |= words - right
    return Score(float(right <= said and not said & others))


def spans(answer: str, gold: Gold) -> Score:
    """A stretch of time, [MM:SS-MM:SS], against ``start_s`` and ``end_s``: intersection over
    union, and whether that reaches 0.3, 0.5 and 0.7.

    LAT-Bench's script leaves out what it cannot read; here it is 0, and ``iou_if_read`` is the
    mean as that script has it.
    """
    found = SPAN.search(answer)
    if found is None:
        nothing = {"iou": 0.0, "r_at_0.3": 0.0, "r_at_0.5": 0.0, "r_at_0.7": 0.0}
        return Score(0.0, is_invalid=True, measures=nothing)
    start, end = seconds(found[1]), seconds(found[2])
    overlap = max(0.0, min(end, gold["end_s"]) - max(start, gold["start_s"]))
    union = max(end, gold["end_s"]) - min(start, gold["start_s"])
    iou = overlap / union if union > 0 and end > start else 0.0
    reached = {f"r_at_{limit}": float(iou >= limit) for limit in (0.3, 0.5, 0.7)}
    return Score(iou, found[0], measures={"iou": iou, "iou_if_read": iou, **reached})


SPAN = re.compile(r"((?:\d+:)?\d+:\d\d(?:\.\d+)?)\s*(?:-|–|to|~)\s*((?:\d+:)?\d+:\d\d(?:\.\d+)?)")


def seconds(text: str) -> float:
    """Of MM:SS or HH:MM:SS."""
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total


def judged_rating(said: str, gold: Gold) -> Score:
    """A judge's "Score: N", of at most ``most``; as WildSpeech-Bench reads it."""
    found = re.search(r"score\W*?(\d+(?:\.\d+)?)", said, re.IGNORECASE)
    if found is None or not 0 <= float(found[1]) <= gold["most"]:
        return Score(None, is_invalid=True)
    return Score(float(found[1]) / gold["most"], found[1], measures={"rating": float(found[1])})


def judged_yes(said: str, gold: Gold) -> Score:
    """A judge's "result: yes" or "result: no", as Speech-IFEval reads it."""
    found = re.findall(r"result:\W*(yes|no)\b", said, re.IGNORECASE)
    if not found:
        return Score(None, is_invalid=True)
    return Score(float(found[-1].lower() == "yes"), found[-1].lower())


def rating(answer: str, gold: Gold) -> Score:
    """The target is itself a judge of speech: its ``<score>x</score>``, 0 to 5, beside the
    ``human`` one. There is no right and wrong in it; the report has their correlation."""
    found = re.search(r"<score>\s*(\d+(?:\.\d+)?)\s*</score>", answer)
    if found is None or not 0 <= float(found[1]) <= 5:
        return Score(None, is_invalid=True)
    measures = {"rating": float(found[1]), "human": float(gold["human"])}
    return Score(None, found[1], measures=measures)


def _plain(text: str) -> str:
    return text.replace("’", "'").replace("*", " ").strip()


def _after_marker(text: str) -> str | None:
    found = list(MARKER.finditer(text))
    return text[found[-1].end() :].strip() if found else None


def _numbers(text: str) -> list[float]:
    found = [
        float(match[0].replace("$", "").replace(",", "").rstrip("."))
        for match in NUMBER.finditer(text)
    ]
    if found:
        return found
    words = [ORDINALS.get(word, word) for word in normalize_words(text)]
    return [float(word) for word in words if re.fullmatch(r"\d+(?:\.\d+)?", word)]


def _tokens(text: str) -> list[str]:
    spread = unicodedata.normalize("NFD", text).casefold()
    return re.findall(r"[^\W_][\w\u0300-\u036f]*|[^\w\s]", spread)


def _same(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold().replace("-", " ")))


def _letter_of(text: str, options: Sequence[str]) -> str | None:
    for name, option in zip(LETTERS, options, strict=False):
        if _same(text) == _same(option):
            return name
    return text if len(text) == 1 and text in LETTERS[: len(options)] else None


def _only_option(text: str, options: Sequence[str]) -> str | None:
    said = f" {_same(text)} "
    named = [
        name
        for name, option in zip(LETTERS, options, strict=False)
        if _same(option) and f" {_same(option)} " in said
    ]
    return named[0] if len(named) == 1 else None


SCORERS: dict[str, Callable[[str, Gold], Score]] = {
    "choice": choice,
    "number": number,
    "order": order,
    "mentions": mentions,
    "first_word": first_word,
    "letter": letter,
    "word_sets": word_sets,
    "spans": spans,
    "judged_rating": judged_rating,
    "judged_yes": judged_yes,
    "rating": rating,
    "ifeval": ifeval_rules.follows,
}


def score(scorer: str, text: str, gold: Gold) -> Score:
    """Score an answer with the rule of that name, on what follows its thoughts.

    Raises:
        ValueError: there is no such rule.
    """
    if scorer not in SCORERS:
        raise ValueError(f"there is no scorer {scorer}; there are {', '.join(SCORERS)}")
    _, answer = split_thought(text)
    return SCORERS[scorer](answer, gold) if answer else INVALID


def mean(values: Iterable[float]) -> float | None:
    """Their mean, or None of none."""
    found = list(values)
    return sum(found) / len(found) if found else None
