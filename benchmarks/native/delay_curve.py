"""The delay after the end of a turn against the turn's length, shown without a GPU.

    python -m benchmarks.native.delay_curve

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

from benchmarks import figures
from benchmarks.native.bed import Bed, BedOptions
from benchmarks.native.hearing import curve
from benchmarks.native.record import circumstances
from benchmarks.native.sections import MODELS
from engine.native.model.config import AdaptorShape, DecoderShape, EncoderShape, StepAudioConfig

RESULTS = Path(__file__).parents[1] / "results"
SMALL = StepAudioConfig(
    decoder=DecoderShape(8, 768, 2048, 12, 4, 64, 32_768, 1e-6, 1e6, 4096),
    encoder=EncoderShape(state=512, heads=8, layers=6),
    adaptor=AdaptorShape(state=512, hidden=1024, output=768),
    stop_ids=(),
)
TURNS_S = (1, 2, 4, 6, 9, 12, 15, 18, 21, 24)
COLOURS = {"incremental": figures.BLUE, "batch": figures.ORANGE}


def plot(found: dict[str, Any], title: str) -> str:
    """Medians as lines, with the 95th percentile as a band above each."""
    drawn, [axes] = figures.figure()
    for way, colour in COLOURS.items():
        medians, highs = (
            [entry[which] for entry in found[way]["first_token_ms"]] for which in ("p50", "p95")
        )
        label = f"{way}: longest / shortest = {found[way]['longest_to_shortest']:.2f}"
        axes.fill_between(found["turns_s"], medians, highs, color=colour, alpha=0.18, linewidth=0)
        style: dict[str, Any] = {"color": colour, "label": label, "gid": way}
        axes.plot(found["turns_s"], medians, "o-", markersize=4, **style)
    axes.set_title(title)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("length of the turn, s")
    axes.set_ylabel("end of the turn to the first token, ms")
    axes.legend()
    return figures.svg(drawn)


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
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write")
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
