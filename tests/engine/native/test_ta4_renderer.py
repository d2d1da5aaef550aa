"""How a spoken answer is read back: its ta4 block as far as it was heard, then its text."""

from pathlib import Path

import pytest

from engine.native.model.ta4 import Ta4Ids, interleave
from engine.native.model.tokens import STEP_CHAT, load_tokenizer
from engine.native.ta4_renderer import Ta4Renderer
from tests._support.tiny_checkpoint import AUDIO_CODES, BYTES, SPECIAL, write_tokenizer

pytestmark = pytest.mark.torch

FIRST = BYTES + len(SPECIAL)
IDS = Ta4Ids(  # type: ignore[call-arg]
    *(BYTES + SPECIAL.index(name) for name in ("<tts_start>", "<tts_end>", "<tts_pad>")),
    FIRST,
    FIRST + AUDIO_CODES,
    AUDIO_CODES,
)
EOT = BYTES + SPECIAL.index("<|EOT|>")
TEXT = "Good day"
CODES = [code % AUDIO_CODES for code in range(4 * len(TEXT))]
SAID = interleave(IDS, list(TEXT.encode()), CODES)[1:-1]  # as decoded: the marks are not in it


@pytest.fixture
def renderer(tmp_path: Path) -> Ta4Renderer:
    write_tokenizer(tmp_path)
    return Ta4Renderer(load_tokenizer(tmp_path), STEP_CHAT, IDS)


@pytest.mark.parametrize("heard", [TEXT, "Good", "G"])
def test_what_was_heard_is_a_block_and_its_text(renderer: Ta4Renderer, heard: str) -> None:
    block = interleave(IDS, list(heard.encode()), CODES[: 4 * len(heard)])
    assert renderer.answer(heard, [*SAID, EOT, 65]) == [*block, *heard.encode()]


def test_it_is_the_same_when_read_back_again(renderer: Ta4Renderer) -> None:
    first = renderer.answer("Good", SAID)
    assert renderer.answer("Good", [*first, EOT, 1, 2, 3]) == first


def test_other_words_are_plain_text(renderer: Ta4Renderer) -> None:
    assert renderer.answer("Bad day", SAID) == list(b"Bad day")
