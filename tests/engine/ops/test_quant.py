"""Quantised weights: the format, and the product with a few rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ops.dispatch import dequantize, quantize
from engine.ops.quant.reference import quant_matvec
from tests._support.kernels import close, draw, error

pytestmark = pytest.mark.kernels


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.sampled_from([8, 24, 128]), st.sampled_from([8, 4]))
def test_rounds_to_half_a_step(outputs: int, groups: int, group: int, bits: int) -> None:
    weight = draw(outputs, groups * group, device="cpu", dtype=torch.float32)
    weight[0, :group] = 0
    quant = quantize(weight, bits, group)
    assert (quant.outputs, quant.inputs) == weight.shape
    assert quant.data.nbytes * 8 == weight.numel() * bits
    off = (dequantize(quant, torch.float32) - weight).view(outputs, groups, group).abs()
    assert (off <= 0.5001 * quant.scales.unsqueeze(-1)).all()
    top = 2 ** (bits - 1) - 1
    largest = weight.view(outputs, groups, group).abs().amax(-1)
    torch.testing.assert_close(quant.scales * top, largest)


@pytest.mark.parametrize("bits", [8, 4])
def test_whole_numbers_survive(bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    weight = torch.randint(-top, top + 1, (5, 256)).float()
    weight[:, ::64] = top
    assert torch.equal(dequantize(quantize(weight, bits), torch.float32), weight)


def test_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="do not split"):
        quantize(torch.ones(2, 100), 8)
    with pytest.raises(ValueError, match="not 3"):
        quantize(torch.ones(2, 128), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("splits", [None, 3])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(
    ("rows", "outputs", "inputs"), [(1, 70, 640), (2, 30, 384), (5, 64, 128), (17, 9, 384)]
)
def test_kernel(
    device: str,
    dtype: torch.dtype,
    rows: int,
    outputs: int,
    inputs: int,
    bits: int,
    splits: int | None,
) -> None:
    from engine.ops.quant import triton

    quant = quantize(draw(outputs, inputs, device=device, dtype=torch.float32), bits)
    x = draw(rows, inputs, device=device, dtype=dtype)
    out = triton.quant_matvec(x, quant, splits)
    assert out.dtype == dtype
    exact = x.cpu().double() @ dequantize(quant, torch.float64).cpu().T
    assert close(out, exact)
    assert error(quant_matvec(x.float(), quant), exact) < 1e-5


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 128), (33, 384), (64, 640)])
def test_kernel_unpacks(
    device: str, dtype: torch.dtype, outputs: int, inputs: int, bits: int
) -> None:
    from engine.ops.quant import triton

    quant = quantize(draw(outputs, inputs, device=device, dtype=torch.float32), bits)
    unpacked = triton.dequantize(quant, dtype)
    torch.testing.assert_close(unpacked, dequantize(quant, dtype))
    x = draw(20, inputs, device=device, dtype=dtype)
    torch.testing.assert_close(quant_matvec(x, quant, triton.dequantize), quant_matvec(x, quant))


def test_kernel_refuses_groups_it_has_no_tile_for(device: str) -> None:
    from engine.ops.quant import triton

    x = torch.ones(1, 96, device=device)
    with pytest.raises(ValueError, match="group"):
        triton.quant_matvec(x, quantize(torch.ones(2, 96, device=device), 8, 48))
    with pytest.raises(ValueError, match="inputs"):
        triton.quant_matvec(x, quantize(torch.ones(2, 128, device=device), 8))
