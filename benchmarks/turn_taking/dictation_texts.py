"""Dictations, group by group, and sentences that are none, to be said by synthetic voices."""

from collections.abc import Mapping

Groups = tuple[str, ...]

# The rules were made on these.
KNOWN: Mapping[str, Groups] = {
    "phone": ("My phone number is four one five,", "five five five,", "zero one nine nine."),
    "phone, it's": ("It's four one five,", "five five five,", "oh one nine nine."),
    "phone, bare": ("Four one five,", "five five five,", "zero one nine nine."),
    "phone, plus": ("Plus four four,", "seven seven double oh,", "nine hundred,", "one two three."),
    "phone, London": ("The number is oh two oh,", "seven nine four six,", "oh nine five eight."),
    "card": (
        "My card number is four two four two,",
        "four two four two,",
        "four two four two,",
        "four two four two.",
    ),
    "account": ("My account number is one two,", "three four,", "five six,", "seven eight."),
    "order": ("The order number is A B seven,", "three three one,", "nine two."),
    "spelling": ("It's spelled S, M,", "Y, T,", "H, E."),
    "letters": ("A, B, C,", "D, E, F,", "G."),
    "name": ("My name is John,", "J, O,", "H, N."),
    "mail": ("My email is john,", "dot smith,", "at gmail,", "dot com."),
    "mail, it's": ("It's anna,", "at example,", "dot org."),
    "street": ("My address is two twenty one,", "Baker Street,", "London."),
    "street, live": ("I live at forty two,", "Oak Avenue,", "Springfield, Illinois."),
    "birth": ("My date of birth is the third,", "of May,", "nineteen eighty four."),
    "zip": ("My zip code is nine four,", "one oh three."),
}

# These were written before anything was heard, and no rule was made on them.
HELD_OUT: Mapping[str, Groups] = {
    "reach me": ("You can reach me on oh seven seven,", "double four,", "nine eight one,", "two."),
    "sure": ("Sure, it's two one two,", "five five five,", "seven eight nine zero."),
    "cell": ("My cell is six one seven,", "three oh two,", "double eight one four."),
    "card is": (
        "The card is five one zero five,",
        "one zero five one,",
        "zero five one zero,",
        "five one zero zero.",
    ),
    "tracking": ("Tracking number one Z,", "nine nine nine,", "A A one,", "zero one two three."),
    "booking": ("My booking reference is K,", "Q seven,", "M four two."),
    "last name": ("My last name is Kowalski, K, O, W,", "A, L,", "S, K, I."),
    "as in": ("B as in Bravo,", "E as in Echo,", "N as in November."),
    "write to": ("You can write to mary,", "at hotmail,", "dot com."),
    "info": ("My email address is info,", "at acme,", "dot co dot uk."),
    "send it": ("Please send it to seventeen,", "Mill Lane,", "Cambridge."),
    "ship it": ("Ship it to one thousand five,", "North Main Street,", "Austin, Texas."),
    "born": ("I was born on the twelfth,", "of October,", "nineteen ninety one."),
    "iban": ("My IBAN is D E eight nine,", "three seven zero four,", "zero zero four four."),
    "policy": ("My policy number is four four,", "seven one,", "nine zero."),
    "code": ("The code is seven three,", "nine one."),
}

# None of these is to be waited for as a dictation.
OTHERS: Groups = (
    "What is the capital of France?",
    "It's five.",
    "Set a timer for ten minutes.",
    "My name is John.",
    "I live in London.",
    "It costs twenty dollars.",
    "Call me at five.",
    "Send it to my brother.",
    "The meeting is on the third of May.",
    "I was born in nineteen eighty four.",
    "My email does not work.",
    "What is your phone number?",
    "I have two cats.",
    "I am in room four one five.",
    "My number is four one five, five five five, zero one nine nine.",
    "The code is one two three four.",
    "It is on Baker Street.",
    "I am on flight B A two eight seven.",
    "Channel four, please.",
    "I lost my credit card.",
    "Where is my order?",
    "My email is john at gmail dot com.",
    "He is thirty five.",
    "Seven.",
    "Yes, that is right.",
    "Two tickets for tomorrow.",
    "Is it the fifth or the sixth?",
    "I need a new address book.",
)
