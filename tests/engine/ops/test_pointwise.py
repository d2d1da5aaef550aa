"""RMSNorm, SwiGLU, and rotary positions with the cache write: kernel against reference."""

import pytest
import torch

from engine.ops.norm.reference import rms_norm
from engine.ops.rope.reference import rope_and_cache
from engine.ops.swiglu.reference import swiglu
from tests._support.kernels import close, draw, wide

pytestmark = pytest.mark.kernels


def test_reference_norm_is_unit_root_mean_square() -> None:
    x = torch.randn(3, 50)
    normed, total = rms_norm(x, torch.full((50,), 2.0), 0.0)
    assert total is x
    torch.testing.assert_close(normed.square().mean(-1), torch.full((3,), 4.0))


@pytest.mark.parametrize(("rows", "columns"), [(1, 16), (3, 100), (5, 1280), (2, 1)])
@pytest.mark.parametrize("add", [False, True])
def test_norm(device: str, dtype: torch.dtype, rows: int, columns: int, add: bool) -> None:
    from engine.ops.norm import triton

    x = draw(rows, columns, device=device, dtype=dtype)
    weight = draw(columns, device=device, dtype=dtype)
    residual = 3 * draw(rows, columns, device=device, dtype=dtype, seed=7) if add else None
    normed, total = triton.rms_norm(x, weight, 1e-5, residual)
    rounded = x if residual is None else x + residual
    assert torch.equal(total, rounded)
    assert normed.dtype == dtype
    assert close(normed, rms_norm(*wide(rounded, weight), 1e-5)[0])


def test_norm_of_no_rows(device: str) -> None:
    from engine.ops.norm import triton

    normed, total = triton.rms_norm(torch.ones(0, 8, device=device), torch.ones(8), 1e-5)
    assert normed.shape == total.shape == (0, 8)


@pytest.mark.parametrize(("rows", "half"), [(1, 1), (2, 100), (3, 1024), (1, 1025)])
def test_swiglu(device: str, dtype: torch.dtype, rows: int, half: int) -> None:
    from engine.ops.swiglu import triton

    gate_up = 4 * draw(rows, 2 * half, device=device, dtype=dtype)
    out = triton.swiglu(gate_up)
    assert out.dtype == dtype
    (x,) = wide(gate_up)
    assert close(out, x[:, :half] * torch.sigmoid(x[:, :half]) * x[:, half:])
    assert close(swiglu(gate_up), x[:, :half] * torch.sigmoid(x[:, :half]) * x[:, half:])


ROPE_SHAPES = [(4, 2, 16, 4), (10, 1, 6, 16), (3, 3, 64, 8)]  # heads, kv heads, dim, block tokens


@pytest.mark.parametrize(("heads", "kv_heads", "dim", "block_tokens"), ROPE_SHAPES)
def test_rope_and_cache(
    device: str, dtype: torch.dtype, heads: int, kv_heads: int, dim: int, block_tokens: int
) -> None:
    from engine.ops.rope import triton

    qkv = draw(5, (heads + 2 * kv_heads) * dim, device=device, dtype=dtype)
    angles = torch.outer(torch.arange(40.0), torch.rand(dim // 2))
    cos, sin = angles.cos(), angles.sin()
    positions = torch.tensor([39, 0, 7, 8, 3])
    slots = torch.tensor([2 * block_tokens - 1, -1, 3 * block_tokens, 1, -1])
    untouched = torch.full((4, kv_heads, block_tokens, dim), float("nan"), dtype=dtype)
    keys, values = untouched.clone().to(device), untouched.clone().to(device)
    q = triton.rope_and_cache(
        qkv,
        cos.to(device),
        sin.to(device),
        positions.to(device),
        slots.to(device),
        keys,
        values,
        heads,
    )

    # As complex numbers: the pair (x[i], x[i + D/2]) is turned by position * frequency.
    x = wide(qkv)[0].view(5, heads + 2 * kv_heads, dim)
    turned = torch.complex(x[..., : dim // 2], x[..., dim // 2 :])
    turned = turned * torch.polar(torch.ones(5, 1, dim // 2), angles[positions].unsqueeze(1))
    turned = torch.cat((turned.real, turned.imag), -1)
    assert q.dtype == dtype
    assert close(q, turned[:, :heads], slack=2)
    k, v = turned[:, heads : heads + kv_heads], x[:, heads + kv_heads :]
    written = torch.zeros(4, block_tokens, dtype=torch.bool)
    for row, slot in enumerate(slots.tolist()):
        if slot >= 0:
            block, offset = divmod(slot, block_tokens)
            written[block, offset] = True
            assert close(keys[block, :, offset], k[row], slack=2)
            assert torch.equal(wide(values[block, :, offset])[0], v[row])
    for cache in (keys, values):
        assert cache.cpu().transpose(1, 2)[~written].isnan().all()

    reference_keys, reference_values = untouched.clone(), untouched.clone()
    expected = rope_and_cache(
        qkv.cpu(), cos, sin, positions, slots, reference_keys, reference_values, heads
    )
    assert close(q, expected, slack=2)
    assert torch.equal(reference_keys.isnan(), keys.cpu().isnan())
    assert close(keys.nan_to_num(), reference_keys.nan_to_num(), slack=2)
    assert torch.equal(reference_values.nan_to_num(), values.cpu().nan_to_num())
