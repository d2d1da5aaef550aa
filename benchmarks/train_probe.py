"""Trains duplex/probe.npz, the network that tells an interruption from other sounds early, and
duplex/verdict.npz, the one that hears all of a short utterance.

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
from benchmarks.events.hearing import Heard, Said, Workbench, hear_stopped, said_in
from benchmarks.interruptions import decision
from duplex.cues import BEFORE_FRAMES
from duplex.echo import BANDS
from duplex.interruption import InterruptionConfig
from duplex.probe import FEATURES, default_probe
from duplex.vad import SAMPLE_RATE

HERE = Path(__file__).parent
WIDTH = 32
LONGEST = 50  # frames of a sound that are learnt from: 1.6 s
DECIDES = slice(3, 9)  # of them, where the decision should fall: 100 to 290 ms after the onset
EPOCHS, BATCH, RATE = 30, 64, 4e-3
LONGEST_MS = 1600  # of speech that the second network learns from; it is asked up to 1200 ms
Examples = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Network(nn.Module):
    """`duplex.probe.Probe`, to be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.GRU(FEATURES, WIDTH, batch_first=True)
        self.output = nn.Linear(WIDTH, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, T, FEATURES] to logits [B, T]."""
        return self.output(self.unit(features)[0])[..., 0]  # type: ignore[no-any-return]


def examples(heard: Sequence[Heard]) -> Examples:
    """For the first network: features [N, T, FEATURES] of each sound's first frames, labels [N],
    and weights [N, T]."""
    rows, labels, weights = [], [], []
    share = shares([h.event.kind for h in heard])
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
    return tensors(rows, labels, weights)


def utterances(said: Sequence[tuple[str, Said]]) -> Examples:
    """For the second, of (kind, what was said): as `examples`, of whole utterances, whose weight
    lies on the last frames."""
    rows, labels, weights = [], [], []
    said = [(kind, one) for kind, one in said if one.features and one.speech_ms <= LONGEST_MS]
    share = shares([kind for kind, _ in said])
    longest = max(len(one.features or ()) for _, one in said)
    for kind, one in said:
        part = np.stack(one.features or ())
        row = np.zeros((longest, FEATURES), np.float32)
        row[: len(part)] = part
        weight = np.zeros(longest, np.float32)
        weight[: len(part)][-4:] = share[kind]
        rows.append(row)
        weights.append(weight)
        labels.append(float(kind != "interruption"))
    return tensors(rows, labels, weights)


def shares(kinds: Sequence[str]) -> dict[str, float]:
    """What each kind weighs, so that rare ones count as much."""
    share = {kind: len(kinds) / kinds.count(kind) for kind in set(kinds)}
    share["interruption"] *= 2.5  # against all false kinds together
    return share


def tensors(rows: list[np.ndarray], labels: list[float], weights: list[np.ndarray]) -> Examples:
    """As torch takes them."""
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


def train(examples: Examples, seed: int, epochs: int = EPOCHS) -> Network:
    """Fit a network, with noise on what it sees."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    features, labels, weights = examples
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
    parser.add_argument("--out", type=Path, default=HERE.parent / "duplex", help="a folder")
    arguments = parser.parse_args()
    bench = Workbench.from_arguments(arguments)
    heard = list(bench.heard("train", COUNTS["train"]))
    for more in (1, 2, 3):  # the same voices and words, in other places
        heard += bench.heard("train", COUNTS["train, again"], arguments.seed + more)
    probe = train(examples(heard), arguments.seed)
    np.savez(arguments.out / "probe.npz", **weights_of(probe))
    said = [(one.event.kind, said_after(one, bench)) for one in heard]
    verdict = train(utterances([(kind, one) for kind, one in said if one]), arguments.seed)
    np.savez(arguments.out / "verdict.npz", **weights_of(verdict))


def said_after(heard: Heard, bench: Workbench) -> Said | None:
    """What is said in an event if the answer stops where the package's judge stops it, or else at
    250 ms, so that there is something to learn from each event."""
    stops = decision(heard, InterruptionConfig())
    if stops is None:
        stops = heard.event.scene.onset + SAMPLE_RATE // 4
    return said_in(hear_stopped(heard, stops, bench.vad, default_probe()))


if __name__ == "__main__":
    main()
