"""The delay after the end of a turn against the turn's length, shown without a GPU.

    python benchmarks/delay_curve.py

The native engine's own path, on a small model with random weights in fp32 on two threads:
incremental (chunks are encoded and prefilled while the caller speaks) against batch (one exact
pass and one prefill when the turn is over), up to the first token. Absolute times say nothing of
the true models; that one way grows with the turn and the other does not, does.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.native.bed import Bed, BedOptions
from benchmarks.native.hearing import curve
from benchmarks.native.record import circumstances
from benchmarks.native.sections import MODELS
from client.drawing.svg import nice_ticks
from engine.native.model.config import AdaptorShape, DecoderShape, EncoderShape, StepAudioConfig

HERE = Path(__file__).parent
SMALL = StepAudioConfig(
    decoder=DecoderShape(8, 768, 2048, 12, 4, 64, 32_768, 1e-6, 1e6, 4096),
    encoder=EncoderShape(state=512, heads=8, layers=6),
    adaptor=AdaptorShape(state=512, hidden=1024, output=768),
    stop_ids=(),
)
TURNS_S = (1, 2, 4, 6, 9, 12, 15, 18, 21, 24)
COLOURS = {"incremental": "#0b84c6", "batch": "#d9663b"}


def plot(found: dict[str, Any], title: str) -> str:
    """Medians as lines, with the 95th percentile as a band above each."""
    width, height, left, top, right = 620, 340, 60, 44, 24
    turns = found["turns_s"]
    far = float(max(turns))
    tops: list[float] = [e["p95"] for way in COLOURS for e in found[way]["first_token_ms"]]
    most = 1.05 * max(tops)

    def x(turn_s: float) -> float:
        return left + (width - left - right) * turn_s / far

    def y(ms: float) -> float:
        return top + (height - top) * (1 - ms / most)

    def text(at: tuple[float, float], words: str, rest: str = "") -> str:
        return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" font-size="12" {rest}>{words}</text>'

    drawn = [text((left, 20), title, 'font-weight="bold"')]
    for tick in nice_ticks(0, most):
        drawn.append(f'<path d="M{left} {y(tick):.1f}H{width - right}" stroke="#dfe4ea"/>')
        drawn.append(text((left - 6, y(tick) + 4), f"{tick:g}", 'text-anchor="end"'))
    drawn += [
        text((x(tick), height + 16), f"{tick:g}", 'text-anchor="middle"')
        for tick in nice_ticks(0, far, 8)
    ]
    for way, colour in COLOURS.items():
        entries = found[way]["first_token_ms"]
        upper = [(x(t), y(e["p95"])) for t, e in zip(turns, entries, strict=True)]
        middle = [(x(t), y(e["p50"])) for t, e in zip(turns, entries, strict=True)]
        band = " ".join(f"{a:.1f},{b:.1f}" for a, b in [*upper, *middle[::-1]])
        drawn.append(f'<polygon points="{band}" fill="{colour}" opacity="0.18"/>')
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in middle)
        drawn.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{colour}"/>' for a, b in middle]
        label = f"{way}: longest / shortest = {found[way]['longest_to_shortest']:.2f}"
        end = (width - right, middle[-1][1] - 12)
        drawn.append(text(end, label, f'fill="{colour}" text-anchor="end"'))
    caption = "length of the turn in seconds; end of the turn to the first token in ms upwards"
    drawn.append(text((left, height + 38), caption))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height + 50}" '
        'font-family="sans-serif"><rect width="100%" height="100%" fill="#fff"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def measure(config: StepAudioConfig, turns_s: Sequence[float], repetitions: int) -> dict[str, Any]:
    """The curve of one model on the CPU."""
    scale = MODELS["tiny"][1]
    device = torch.device("cpu")
    options = BedOptions(device, torch.float32, scale.cache_tokens, scale.encoder_frames)
    shapes = (config.decoder, config.encoder, config.adaptor)
    return {
        "circumstances": circumstances(device) | {"load_before": os.getloadavg()},
        "shapes": [asdict(shape) for shape in shapes if shape is not None],
        "parameters": config.parameters,
        **curve(Bed(config, options), turns_s=turns_s, repetitions=repetitions),
        "load_after": os.getloadavg(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where to write")
    parser.add_argument("--repetitions", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    found = measure(SMALL, TURNS_S, arguments.repetitions)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "delay_curve_cpu.json").write_text(json.dumps(found, indent=1) + "\n")
    million = round(found["parameters"] / 1e6)
    title = f"Delay after the end of a turn, {million} M parameters on {arguments.threads} threads"
    (arguments.out / "delay_curve_cpu.svg").write_text(plot(found, title))
    for way in COLOURS:
        medians = [f"{entry['p50']:.0f}" for entry in found[way]["first_token_ms"]]
        print(f"{way:12} p50 ms at {[*TURNS_S]} s: {', '.join(medians)}")
        print(f"{'':12} longest / shortest {found[way]['longest_to_shortest']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
