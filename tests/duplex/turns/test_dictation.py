import pytest

from duplex.turns.dictation import is_dictating
from duplex.turns.endpointing import EndpointConfig, PauseSigns, silence_to_end_ms


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
        "My phone number is 415. Time time time.",
        "4 1 5. Free free one.",
        "My phone number is 41 times. Time time time.",
        "The order number is a B7. Free free one.",
        "Plus 4-4. 7-7-double-o.",
        "It's still this, M.",
        "ABC.",
        "It's spelled as M. YT.",
        "My date of birth is the third.",
        "I was born on the 3rd of May.",
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
        "It is 5 times.",
        "I paid 5 for two, too.",
        "What a fine time.",
        "OK.",
        "I watched it on NBC.",
        "I was born on the 3rd of May, 1984.",
        "I was born in London.",
        "My date of birth is 3/5/84.",
    ],
)
def test_what_is_complete_or_no_dictation_is_over(words: str) -> None:
    assert not is_dictating(words)


def test_letters_in_capitals_are_waited_for() -> None:
    config = EndpointConfig()
    assert silence_to_end_ms(PauseSigns("ABC"), config) == config.unfinished_ms
    assert silence_to_end_ms(PauseSigns("OK"), config) == config.finished_ms
