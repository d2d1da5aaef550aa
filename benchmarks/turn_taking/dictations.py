"""Dictations in groups, as the ear writes them up to each pause between groups.

A dictation is cut if the words let one of its pauses pass for its end. The texts stand for what
tiny.en writes of digits, letters and addresses in groups.
"""

from duplex.turns.endpointing import EndpointConfig, PauseSigns, silence_to_end_ms

LONGEST_PAUSE_MS = 700

DICTATIONS: tuple[tuple[str, ...], ...] = (
    ("It's 415.", "It's 415. 555."),
    ("My phone number is 415.", "My phone number is 415. 555."),
    ("A, B, C.", "A, B, C. D, E, F."),
    ("My email is John.", "My email is John. Dot Smith.", "My email is John Dot Smith at gmail."),
    ("415.", "415, 555.", "415, 555, 0."),
    (
        "My card number is 4242.",
        "My card number is 4242. 4242.",
        "My card number is 4242, 4242, 4242.",
    ),
    ("The number is 0207.", "The number is 0207. 946."),
    ("That's spelled S, M.", "That's spelled S, M, Y, T."),
    ("My address is 221.", "My address is 221. Baker Street."),
    ("My zip code is 94.",),
    ("Plus 44.", "Plus 44. 7700.", "Plus 44, 7700, 900."),
    (
        "The account number is 12.",
        "The account number is 12. 34.",
        "The account number is 12, 34, 56.",
    ),
    ("You can reach me at my mobile number 555.", "You can reach me at my mobile number 555. 01."),
    ("It's anna at.", "My email address is anna at example."),
    ("My name is spelled J. O.", "My name is spelled J. O. A."),
    ("oh two oh.", "oh two oh. seven nine."),
)


def cut_dictations() -> int:
    """How many are cut at a pause of `LONGEST_PAUSE_MS`."""
    config = EndpointConfig()
    return sum(
        any(silence_to_end_ms(PauseSigns(words), config) <= LONGEST_PAUSE_MS for words in groups)
        for groups in DICTATIONS
    )
