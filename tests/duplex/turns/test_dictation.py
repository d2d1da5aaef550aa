import pytest

from duplex.turns.dictation import is_dictating


@pytest.mark.parametrize(
    "words",
    [
        "It's 415.",
        "My phone number is 415. 555.",
        "A, B, C.",
        "My email is John.",
        "My email is John Dot Smith at gmail.",
        "My card number is 4242. 4242. 4242.",
        "Plus 44. 7700.",
        "My address is 221.",
        "My zip code is 94.",
        "My phone number is",
        "That's spelled S.",
        "oh two oh.",
        "You can call me on 07700.",
        "It's mary at hotmail.",
    ],
)
def test_a_dictation_goes_on(words: str) -> None:
    assert is_dictating(words)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "5.",
        "Seven.",
        "It's 5.",
        "J.",
        "It costs about $20.",
        "Set a timer for 10 minutes.",
        "In 1984.",
        "2024.",
        "My number is 415 555 0199.",
        "It's 415-555-0199.",
        "My card number is 4242 4242 4242 4242.",
        "My email is john.smith@gmail.com.",
        "My zip code is 94103.",
        "My address is 221 Baker Street, London NW1 6XE.",
        "Email me tomorrow.",
        "What is your number?",
        "It's noon.",
        "Call me at 5.",
    ],
)
def test_what_is_complete_or_no_dictation_is_over(words: str) -> None:
    assert not is_dictating(words)
