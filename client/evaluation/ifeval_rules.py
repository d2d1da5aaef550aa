"""IFEval's instructions that can be checked by a rule, after Zhou et al. 2023 (arXiv 2311.07911,
google-research/instruction_following_eval), as Speech-IFEval uses them: strict, all or nothing.

An instruction that is not known here leaves its answer without a score: a guess would be worse.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from client.evaluation.score import INVALID, NOT_SCORED, Gold, Score

Arguments = Mapping[str, Any]
Rule = Callable[[str, Arguments], bool]


def follows(answer: str, gold: Gold) -> Score:
    """Whether the answer follows all of ``instructions``, each with its ``arguments``."""
    rules = [RULES.get(name) for name in gold["instructions"]]
    if None in rules or not rules:
        return NOT_SCORED
    if not answer.strip():
        return INVALID
    kept = [
        rule(answer, {k: v for k, v in (arguments or {}).items() if v is not None})
        for rule, arguments in zip(rules, gold["arguments"], strict=True)
        if rule is not None
    ]
    return Score(float(all(kept)), f"{sum(kept)} of {len(kept)} followed")


def _holds(count: int, arguments: Arguments, name: str, relation: str = "relation") -> bool:
    """``count`` against a limit: "at least" it, or "less than" it."""
    limit = int(arguments[name])
    return count < limit if arguments.get(relation) == "less than" else count >= limit


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])[\"')\]]*\s+|\n+", text.strip()) if part.strip()]


def _count_of(word: str, text: str) -> int:
    return len(re.findall(rf"\b{re.escape(word)}\b", text, re.IGNORECASE))


def _paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\s?\*\*\*\s?", text) if part.strip()]


def _first_word(text: str, arguments: Arguments) -> bool:
    parts = [part for part in re.split(r"\n\n", text) if part.strip()]
    nth, wanted = int(arguments["nth_paragraph"]), str(arguments["first_word"]).lower()
    if len(parts) != int(arguments["num_paragraphs"]) or nth > len(parts):
        return False
    return _words(parts[nth - 1].lower())[:1] == [wanted]


def _is_json(text: str) -> bool:
    bare = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip(), flags=re.IGNORECASE)
    try:
        json.loads(bare)
    except ValueError:
        return False
    return True


def _highlights(text: str) -> int:
    found = re.findall(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*", text)
    return sum(bool(one.strip("* ")) for one in found)


def _postscript(text: str, arguments: Arguments) -> bool:
    marker = str(arguments["postscript_marker"])
    found = r"\s*".join(re.escape(part) for part in re.split(r"(?<=\.)\s*", marker) if part)
    return re.search(rf"\s*{found}.*$", text, re.IGNORECASE | re.MULTILINE) is not None


def _two_answers(text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    kept = [part for index, part in enumerate(parts) if part or 0 < index < len(parts) - 1]
    return len(kept) == 2 and kept[0] != kept[1]


def _repeats(text: str, arguments: Arguments) -> bool:
    return text.strip().lower().startswith(str(arguments["prompt_to_repeat"]).strip().lower())


def _bullets(text: str) -> int:
    return len(re.findall(r"^\s*(?:\*[^*].*|-.*)$", text, re.MULTILINE))


def _sections(text: str, arguments: Arguments) -> bool:
    parts = re.split(rf"\s?{re.escape(arguments['section_spliter'])}\s?\d+\s?", text)
    return len(parts) - 1 >= int(arguments["num_sections"])


def _in_quotes(text: str) -> bool:
    bare = text.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == '"'


RULES: dict[str, Rule] = {
    "keywords:existence": lambda t, a: all(_count_of(w, t) for w in a["keywords"]),
    "keywords:forbidden_words": lambda t, a: not any(_count_of(w, t) for w in a["forbidden_words"]),
    "keywords:frequency": lambda t, a: _holds(_count_of(a["keyword"], t), a, "frequency"),
    "keywords:letter_frequency": lambda t, a: _holds(
        t.lower().count(str(a["letter"]).lower()), a, "let_frequency", "let_relation"
    ),
    "length_constraints:number_words": lambda t, a: _holds(len(_words(t)), a, "num_words"),
    "length_constraints:number_sentences": lambda t, a: _holds(
        len(_sentences(t)), a, "num_sentences"
    ),
    "length_constraints:number_paragraphs": lambda t, a: (
        len(_paragraphs(t)) == int(a["num_paragraphs"])
    ),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": lambda t, a: (
        len(re.findall(r"\[.*?\]", t)) >= int(a["num_placeholders"])
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": lambda t, a: _bullets(t) == int(a["num_bullets"]),
    "detectable_format:constrained_response": lambda t, a: any(
        one in t for one in ("My answer is yes.", "My answer is no.", "My answer is maybe.")
    ),
    "detectable_format:number_highlighted_sections": lambda t, a: (
        _highlights(t) >= int(a["num_highlights"])
    ),
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": lambda t, a: _is_json(t),
    "detectable_format:title": lambda t, a: any(
        title.strip("<> ") for title in re.findall(r"<<[^\n]+>>", t)
    ),
    "combination:two_responses": lambda t, a: _two_answers(t),
    "combination:repeat_prompt": _repeats,
    "startend:end_checker": lambda t, a: (
        t.strip().strip('"').lower().endswith(str(a["end_phrase"]).strip().lower())
    ),
    "startend:quotation": lambda t, a: _in_quotes(t),
    "change_case:capital_word_frequency": lambda t, a: _holds(
        sum(word.isupper() for word in _words(t)), a, "capital_frequency", "capital_relation"
    ),
    "change_case:english_capital": lambda t, a: t.isupper(),
    "change_case:english_lowercase": lambda t, a: t.islower(),
    "punctuation:no_comma": lambda t, a: "," not in t,
}
