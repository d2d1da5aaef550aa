"""How a conversation is written when the brain itself hears the caller."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.brain.chat_format import CHATML, Renderer
from engine.brain.prompt_writer import PromptWriter
from engine.errors import ContextExceeded
from engine.types import Message, Transcript
from tests._support.byte_tokens import byte_tokenizer

BEFORE, AFTER = [900], [901, 902]
SYSTEM = Message("system", "Be brief.")


class Latents:
    """A sound of ``count`` latents, the first of which has id ``-first``."""

    def __init__(self, first: int, count: int) -> None:
        self._ids = range(-first, -first - count, -1)

    @property
    def ids(self) -> Sequence[int]:
        return self._ids


def writer(context_tokens: int = 512, *, hears: bool = True) -> PromptWriter:
    marks = (BEFORE, AFTER) if hears else None
    return PromptWriter(Renderer(byte_tokenizer(), CHATML), context_tokens, marks)


def encode(text: str) -> list[int]:
    tokenizer = byte_tokenizer()
    tokenizer.encode_special_tokens = False
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_what_was_heard_takes_the_place_of_its_words() -> None:
    ids = writer().write([SYSTEM, Message("user", "hello", Latents(1, 3))])
    assert ids == [
        *encode("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"),
        *BEFORE,
        *(-1, -2, -3),
        *AFTER,
        *encode("<|im_end|>\n"),
    ]


def test_a_brain_that_does_not_hear_reads_the_words() -> None:
    spoken, typed = Message("user", "hello", Latents(1, 3)), Message("user", "hello")
    assert writer(hears=False).write([spoken]) == writer(hears=False).write([typed])
    assert writer().write([typed]) == writer(hears=False).write([typed])
    with pytest.raises(ValueError, match="does not hear"):
        writer(hears=False).write([], Latents(1, 3))


@given(st.integers(0, 5), st.integers(0, 5))
def test_the_open_turn_grows_into_the_closed_one(count: int, more: int) -> None:
    partial = writer().write([SYSTEM], Latents(1, count))
    grown = writer().write([SYSTEM], Latents(1, count + more))
    closed = writer().write([SYSTEM, Message("user", "", Latents(1, count + more))])
    assert grown[: len(partial)] == partial
    assert closed[: len(grown)] == grown
    assert closed[len(grown) :] == AFTER + encode("<|im_end|>\n")


def test_two_sounds_of_the_same_words_are_two_messages() -> None:
    one, other = Message("user", "yes", Latents(1, 2)), Message("user", "yes", Latents(3, 2))
    assert one != other
    assert len({one, other, Message("user", "yes")}) == 3
    ids = writer().write([one, other])
    assert [token for token in ids if token < 0] == [-1, -2, -3, -4]
    assert Transcript("yes", "yes", 0, one.sound).sound is one.sound


def test_sounds_count_against_the_context() -> None:
    answer = Message("assistant", "ok")
    talk = [Message("user", "", Latents(1, 300)), answer, Message("user", "", Latents(301, 300))]
    ids = writer().write([SYSTEM, *talk])
    assert [token for token in ids if token < 0] == list(range(-301, -601, -1))
    ids = writer().write([SYSTEM, *talk[:2]], Latents(301, 300))
    assert [token for token in ids if token < 0] == list(range(-301, -601, -1))
    with pytest.raises(ContextExceeded):
        writer().write([SYSTEM], Latents(1, 400))
    with pytest.raises(ContextExceeded):
        writer().write([Message("user", "", Latents(1, 400))])


def test_the_words_of_what_was_heard_cost_nothing() -> None:
    long = Message("user", "x" * 100_000, Latents(1, 2))
    assert -1 in writer().write([long])


def test_an_answer_keeps_its_ids_after_a_sound() -> None:
    heard = Message("user", "hm", Latents(1, 3))
    tokenizer = byte_tokenizer()
    split = [tokenizer.token_to_id("x"), tokenizer.token_to_id("y")]
    held = [*writer().write([heard]), *encode("<|im_start|>assistant\n"), *split]
    ids = writer().write([heard, Message("assistant", "xy")], held=held)  # type: ignore[arg-type]
    assert ids == [*held, *encode("<|im_end|>\n")]
    retold = writer().write([heard, Message("assistant", "xy")])
    assert tokenizer.token_to_id("xy") in retold


def test_instructions_are_measured_as_they_are_written() -> None:
    measured = writer(512).measure([SYSTEM])
    assert measured.tokens == len(writer(512).write([SYSTEM]))
    assert (measured.context_tokens, measured.reserved_tokens) == (512, 128 + 32)
    fitting = Message("system", "a" * (512 - 160 - (measured.tokens - len(SYSTEM.text))))
    assert writer(512).measure([fitting]).fits
    assert writer(512).write([fitting, Message("user", "a")])
    assert not writer(512).measure([Message("system", fitting.text + "a")]).fits
    assert not writer(512).measure([Message("system", "word " * 100_000)]).fits
