"""Each of IFEval's rules, followed and not."""

import pytest

from client.evaluation.ifeval_rules import RULES, follows

CASES: list[tuple[str, dict, str, str]] = [  # rule, arguments, followed, not followed
    ("keywords:existence", {"keywords": ["sea", "sun"]}, "Sun and sea.", "Sun and seaside."),
    ("keywords:forbidden_words", {"forbidden_words": ["sea"]}, "seaside", "the Sea"),
    ("keywords:frequency", {"keyword": "a", "frequency": 2, "relation": "at least"}, "a A", "a an"),
    ("keywords:frequency", {"keyword": "a", "frequency": 2, "relation": "less than"}, "a", "a a"),
    (
        "keywords:letter_frequency",
        {"letter": "e", "let_frequency": 2, "let_relation": "at least"},
        "Eel",
        "el",
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "less than"},
        "two words",
        "three whole words",
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        'One. "Two!" Three?',
        "Just one 3.5.",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"},
        "a\n\nThen, b",
        "a\n\nb then",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "x\np. s. y", "x"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n* b\n* c"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", "*a*"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1 a Section 2 b",
        "Section 1 a",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<A title>>\nx", "<< >>\nx"),
    ("combination:two_responses", {}, "a\n******\nb", "a\n******\na"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it"}, "Say it. I do.", "I do."),
    ("startend:end_checker", {"end_phrase": "Is it?"}, 'So. "Is it?"', "Is it? So."),
    ("startend:quotation", {}, '"all of it"', '"part" of it'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "ONE and TWO",
        "ONE and Two",
    ),
    ("change_case:english_capital", {}, "ALL OF IT.", "All of it."),
    ("change_case:english_lowercase", {}, "all of it.", "All of it."),
    ("punctuation:no_comma", {}, "a and b", "a, b"),
]


@pytest.mark.parametrize(("name", "arguments", "followed", "not_followed"), CASES)
def test_a_rule_tells_who_follows_it(
    name: str, arguments: dict, followed: str, not_followed: str
) -> None:
    gold = {"instructions": [name], "arguments": [{**arguments, "other": None}]}
    assert follows(followed, gold).value == 1.0
    assert follows(not_followed, gold).value == 0.0


def test_every_rule_is_tried() -> None:
    assert {name for name, *_ in CASES} == set(RULES)


def test_strict_means_all_of_them() -> None:
    names = ["punctuation:no_comma", "change_case:english_lowercase"]
    gold = {"instructions": names, "arguments": [{}, {}]}
    assert follows("all of it", gold).value == 1.0
    score = follows("All of it", gold)
    assert (score.value, score.picked) == (0.0, "1 of 2 followed")


def test_what_is_not_known_or_not_answered() -> None:
    unknown = {"instructions": ["language:response_language"], "arguments": [{"language": "kn"}]}
    assert follows("x", unknown).value is None
    known = {"instructions": ["punctuation:no_comma"], "arguments": [{}]}
    assert follows(" ", known).is_invalid
