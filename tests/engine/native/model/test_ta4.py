"""The ta4 block: what goes in comes out, in whatever order the model writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.native.model.ta4 import (
    CODEBOOK_SIZE,
    Codes,
    OtherId,
    SpokenId,
    Ta4Event,
    Ta4Ids,
    Ta4Parser,
    interleave,
)

# Those of Step-Audio-R1 (reference tokenizer); the second set checks that none is built in.
STEP_AUDIO = Ta4Ids(start=151693, end=151694, text_pad=151695, first_code=151696, audio_pad=158257)
SMALL = Ta4Ids(start=7, end=5, text_pad=9, first_code=20, audio_pad=20 + CODEBOOK_SIZE)
ALL_IDS = pytest.mark.parametrize("ids", [STEP_AUDIO, SMALL])

texts = st.lists(st.sampled_from([0, 1, 2, 3, 4, 6, 8, 10, 19]), max_size=30)
codes = st.lists(st.integers(0, CODEBOOK_SIZE - 1), max_size=120)


def parse(parser: Ta4Parser, tokens: list[int]) -> list[Ta4Event]:
    return [event for token in tokens for event in parser.feed(token)] + list(parser.finish())


def spoken(events: list[Ta4Event]) -> list[int]:
    return [event.token for event in events if isinstance(event, SpokenId)]


def sounded(events: list[Ta4Event]) -> list[int]:
    return [code for event in events if isinstance(event, Codes) for code in event.codes]


def others(events: list[Ta4Event]) -> list[int]:
    return [event.token for event in events if isinstance(event, OtherId)]


@ALL_IDS
@given(text=texts, audio=codes)
def test_a_written_block_is_read_back(ids: Ta4Ids, text: list[int], audio: list[int]) -> None:
    block = interleave(ids, text, audio)
    events = parse(Ta4Parser(ids), block)
    assert spoken(events) == text
    assert sounded(events) == audio
    assert others(events) == []
    assert (len(block) - 2) % 5 == 0
    groups = [event.codes for event in events if isinstance(event, Codes)]
    assert [code for group in groups[:-1] for code in group] == audio[: 4 * len(groups[:-1])]
    assert all(len(group) == 4 for group in groups[:-1])


@ALL_IDS
@given(data=st.data())
def test_no_order_loses_a_text_id_or_a_code(ids: Ta4Ids, data: st.DataObject) -> None:
    body = st.one_of(
        st.sampled_from([0, 1, 2, ids.text_pad, ids.audio_pad, ids.audio_pad + 3, ids.start]),
        st.integers(ids.first_code, ids.first_code + CODEBOOK_SIZE - 1),
    )
    tokens = data.draw(st.lists(body, max_size=60))
    events = parse(Ta4Parser(ids, inside=True), tokens)
    assert spoken(events) == [token for token in tokens if token <= 2]
    assert sounded(events) == [t - ids.first_code for t in tokens if ids.is_code(t)]
    assert others(events) == []
    assert all(1 <= len(e.codes) <= 4 for e in events if isinstance(e, Codes))


def test_a_text_id_comes_before_the_codes_of_its_group() -> None:
    events = parse(Ta4Parser(SMALL), interleave(SMALL, [1, 2], [5, 6, 7, 8, 9]))
    assert events == [SpokenId(1), Codes((5, 6, 7, 8)), SpokenId(2), Codes((9,))]


def test_a_group_leaves_with_its_fourth_audio_id_even_if_that_is_a_pad() -> None:
    parser = Ta4Parser(SMALL, inside=True)
    assert [parser.feed(20 + code) for code in range(3)] == [(), (), ()]
    assert parser.feed(SMALL.audio_pad) == (Codes((0, 1, 2)),)
    assert parser.finish() == ()


def test_ids_around_the_block_are_other_and_the_block_never_opens_again() -> None:
    parser = Ta4Parser(SMALL)
    block = interleave(SMALL, [1], [2])
    tokens = [3, 25, *block, 4, SMALL.start, 30, SMALL.end]
    assert others(parse(parser, tokens)) == [3, 25, 4, SMALL.start, 30, SMALL.end]


@pytest.mark.parametrize("code", [-1, CODEBOOK_SIZE])
def test_a_code_outside_the_codebook_cannot_be_written(code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        interleave(SMALL, [], [code])


@pytest.mark.parametrize("token", [7, 5, 9, 20, 20 + CODEBOOK_SIZE, 20 + CODEBOOK_SIZE + 1])
def test_ids_of_ta4_itself_are_no_text(token: int) -> None:
    with pytest.raises(ValueError, match=f"id {token} "):
        interleave(SMALL, [1, token], [])


@pytest.mark.parametrize(
    "ids", [(1, 1, 2, 10, 9000), (1, 2, 3, 0, 9000), (1, 2, 3, 10, 11)], ids=str
)
def test_ids_that_collide_are_refused(ids: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"ta4 ids must differ|also the id"):
        Ta4Ids(*ids)
