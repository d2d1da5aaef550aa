"""Property: whatever was appended, cut and forked, each log reads back exactly what is left in
it, and no block is lost or held twice."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.native.kv_cache import BlockPool, CacheFull, Log

pytestmark = pytest.mark.torch

BLOCK = 4


def pool_of(blocks: int) -> BlockPool:
    return BlockPool(2, 1, 1, blocks=blocks, block_tokens=BLOCK)


def write(log: Log, entries: list[int]) -> None:
    for entry, slot in zip(entries, log.extend(entries), strict=True):
        for layer in range(2):
            log.pool.keys[layer][slot // BLOCK, 0, slot % BLOCK, 0] = entry + layer
            log.pool.values[layer][slot // BLOCK, 0, slot % BLOCK, 0] = -entry - layer


def read(log: Log, layer: int) -> tuple[list[float], list[float]]:
    keys = log.pool.keys[layer][log.blocks].reshape(-1)[: log.length]
    values = log.pool.values[layer][log.blocks].reshape(-1)[: log.length]
    return keys.tolist(), values.tolist()


@st.composite
def operations(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    kinds = st.sampled_from(["append", "truncate", "fork", "close"])
    return draw(st.lists(st.tuples(kinds, st.integers(0, 20), st.integers(0, 11)), max_size=40))


@settings(max_examples=200, deadline=None)
@given(operations())
def test_logs_read_back_what_is_left_in_them_and_blocks_are_conserved(
    steps: list[tuple[str, int, int]],
) -> None:
    pool = pool_of(24)
    model: list[tuple[Log, list[int]]] = [(pool.open(), [])]
    written = 0
    for kind, which, size in steps:
        log, held = model[which % len(model)]
        if kind == "append":
            entries = list(range(written, written + size))
            try:
                write(log, entries)
            except CacheFull:
                assert log.entries == held  # nothing has changed
                continue
            written += size
            held += entries
        elif kind == "truncate":
            cut = size % (len(held) + 1)
            log.truncate(cut)
            del held[cut:]
        elif kind == "fork":
            cut = size % (len(held) + 1)
            model.append((log.fork(cut), held[:cut]))
        elif len(model) > 1:
            log.close()
            model.pop(which % len(model))
    for log, held in model:
        assert log.entries == held
        assert log.table.tolist() == log.blocks
        for layer in range(2):
            assert read(log, layer) == ([e + layer for e in held], [-e - layer for e in held])
    in_use = {block for log, _ in model for block in log.blocks}
    assert pool.free_blocks + len(in_use) == 24
    for log, _ in model:
        log.close()
    assert pool.free_blocks == 24


def test_a_full_pool_refuses_and_changes_nothing() -> None:
    pool = pool_of(2)
    log = pool.open()
    write(log, [1, 2, 3, 4, 5])
    with pytest.raises(CacheFull, match="1 blocks wanted, 0 of 2 free"):
        log.extend([6, 7, 8, 9])
    assert log.entries == [1, 2, 3, 4, 5]
    assert read(log, 0)[0] == [1, 2, 3, 4, 5]


def test_a_fork_that_is_written_to_copies_only_the_block_it_writes() -> None:
    pool = pool_of(8)
    log = pool.open()
    write(log, [1, 2, 3, 4, 5])
    other = log.fork()
    assert pool.free_blocks == 6
    write(other, [9])
    assert pool.free_blocks == 5
    assert other.blocks[0] == log.blocks[0]
    assert read(log, 0)[0] == [1, 2, 3, 4, 5]
    assert read(other, 0)[0] == [1, 2, 3, 4, 5, 9]


@pytest.mark.parametrize("length", [-1, 3])
def test_a_log_cannot_be_cut_or_forked_past_its_ends(length: int) -> None:
    log = pool_of(2).open()
    write(log, [1, 2])
    with pytest.raises(ValueError, match="cannot cut"):
        log.truncate(length)
    with pytest.raises(ValueError, match="cannot fork"):
        log.fork(length)


def test_fresh_memory_is_finite() -> None:
    pool = pool_of(2)
    assert torch.isfinite(pool.keys[0]).all()
    assert torch.isfinite(pool.values[1]).all()
