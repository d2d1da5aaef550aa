"""Trains duplex/probe.npz, the network that tells an interruption from other sounds early.

    python -m benchmarks.train_probe --sounds DIR

Everything it hears is made by `benchmarks.events`, most of it with synthetic voices: it is no
better than those. It is trained on the train split only; `benchmarks.interruptions` measures it on
voices, sentences and recordings that are not in it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.events.corpus import COUNTS
from benchmarks.events.hearing import Heard, Workbench
from duplex.cues import BEFORE_FRAMES
from duplex.echo import BANDS
from duplex.probe import FEATURES

HERE = Path(__file__).parent
WIDTH = 32
LONGEST = 50  # frames of a sound that are learnt from: 1.6 s
DECIDES = slice(3, 9)  # of them, where the decision should fall: 100 to 290 ms after the onset
EPOCHS, BATCH, RATE = 30, 64, 4e-3


class Network(nn.Module):
    """`duplex.probe.Probe`, to be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.GRU(FEATURES, WIDTH, batch_first=True)
        self.output = nn.Linear(WIDTH, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, T, FEATURES] to logits [B, T]."""
        return self.output(self.unit(features)[0])[..., 0]  # type: ignore[no-any-return]


def examples(heard: Sequence[Heard]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features [N, T, FEATURES] of each sound's first frames, labels [N], and weights [N, T]."""
    rows, labels, weights = [], [], []
    kinds = [h.event.kind for h in heard]
    share = {kind: len(kinds) / kinds.count(kind) for kind in set(kinds)}
    share["interruption"] *= 2.5  # against all false kinds together
    for one in heard:
        for first, last in one.sounds():
            start = max(0, first - BEFORE_FRAMES)
            row = np.zeros((LONGEST + BEFORE_FRAMES, FEATURES), np.float32)
            part = one.features[start : min(last, first + LONGEST)]
            row[: len(part)] = part
            weight = np.zeros(len(row), np.float32)
            weight[first - start : len(part)] = 0.4 * share[one.event.kind]
            weight[first - start :][DECIDES] *= 2.5
            rows.append(row)
            weights.append(weight)
            labels.append(float(one.event.kind == "interruption"))
    return (
        torch.from_numpy(np.stack(rows)),
        torch.tensor(labels),
        torch.from_numpy(np.stack(weights)),
    )


def varied(features: torch.Tensor) -> torch.Tensor:
    """As smaller and larger speakers would have them, through other lines, with dirt, and at
    times without the caller's level."""
    count = len(features)
    bands = features[..., : 2 * BANDS].unflatten(-1, (2, BANDS))
    shift = (torch.rand(count, 1, 1, 1) * 2.4 - 1.2).expand(-1, bands.shape[1], 2, BANDS)
    at = (torch.arange(BANDS) + shift).clamp(0, BANDS - 1)
    low = at.floor().long().clamp(max=BANDS - 2)
    part = at - low
    bands = bands.gather(-1, low) * (1 - part) + bands.gather(-1, low + 1) * part
    bands = bands + 0.12 * torch.randn(count, 1, 1, BANDS) + 0.08 * torch.randn_like(bands)
    rest = features[..., 2 * BANDS :].clone()
    rest[..., -1] *= (torch.rand(count, 1) > 0.2).float()
    rest = rest + 0.05 * torch.randn_like(rest)
    return torch.cat([bands.flatten(-2), rest], dim=-1)


def train(heard: Sequence[Heard], seed: int, epochs: int = EPOCHS) -> Network:
    """Fit a network, with noise on what it sees."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    features, labels, weights = examples(heard)
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    steps = epochs * (len(labels) // BATCH + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    loss_of = nn.BCEWithLogitsLoss(reduction="none")
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(BATCH):
            logits = network(varied(features[batch]))
            losses = loss_of(logits, labels[batch, None].expand_as(logits)) * weights[batch]
            optimizer.zero_grad()
            (losses.sum() / weights[batch].sum()).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network


def weights_of(network: Network) -> dict[str, np.ndarray]:
    """As `duplex.probe.Probe` takes them: 31 kB."""
    unit = network.unit
    named = {
        "input": unit.weight_ih_l0,
        "hidden": unit.weight_hh_l0,
        "input_bias": unit.bias_ih_l0,
        "hidden_bias": unit.bias_hh_l0,
        "output": network.output.weight[0],
        "output_bias": network.output.bias,
    }
    return {name: value.detach().numpy().astype(np.float32) for name, value in named.items()}


def main() -> None:
    """Run the training from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    Workbench.add_arguments(parser)
    parser.add_argument("--out", type=Path, default=HERE.parent / "duplex" / "probe.npz")
    arguments = parser.parse_args()
    bench = Workbench.from_arguments(arguments)
    heard = list(bench.heard("train", COUNTS["train"]))
    heard += bench.heard("train", COUNTS["train, again"], arguments.seed + 1)
    network = train(heard, arguments.seed)
    np.savez(arguments.out, **weights_of(network))


if __name__ == "__main__":
    main()
