from engine.brain.style import SPOKEN_STYLE, THINK_FIRST, system_prompt


def test_thinking_is_asked_for_only_where_it_is_wanted() -> None:
    assert system_prompt() == SPOKEN_STYLE
    assert "<think>" not in system_prompt()
    assert system_prompt("Talk like a pirate.", thinking=True) == (
        f"Talk like a pirate. {THINK_FIRST}"
    )
