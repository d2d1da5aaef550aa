"""Trains the two files in duplex/interruption/weights: `first_syllable.npz`, the networks that tell
an interruption from other sounds early, and `whole_utterance.npz`, the one that hears all of a
short utterance.

    python -m benchmarks.turn_taking.train_interruption --sounds DIR

Everything it hears is made by `benchmarks.turn_taking.events`, most of it with synthetic voices: it
is no better than those. It is trained on the train split only;
`benchmarks.turn_taking.interruptions` measures it on voices, sentences and recordings that are not
in it.
"""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.turn_taking.events.corpus import COUNTS
from benchmarks.turn_taking.events.hearing import Heard, Said, Workbench, hear_stopped, said_in
from duplex.interruption.cues import BEFORE_FRAMES
from duplex.interruption.echo_path import BANDS
from duplex.interruption.network import FEATURES, first_syllable
from duplex.turns.vad import SAMPLE_RATE

ROOT = Path(__file__).parents[2]
LONGEST = 16  # frames of a sound that the first networks learn from: 0.5 s
DECIDES = slice(4, 10)  # of them, where the decision should fall: 130 to 320 ms after the onset
LONGEST_MS = 1600  # of speech that the second network learns from; it is asked up to 1200 ms
Examples = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How networks are fitted. The rest is what `varied` does: ``shift`` is of speakers' sizes, in
    bands; ``line`` and ``dirt`` are noise on each recording's bands and on each frame's; ``tilt``
    is of its spectrum; ``moves`` is in frames."""

    networks: int
    width: int
    epochs: int
    batch: int
    rate: float
    shift: float
    line: float
    dirt: float
    tilt: float = 0.0
    moves: int = 0


# Chosen by cross-validation over voices and texts. With what is best for the first, the second
# takes more interruptions back for the same answers that are lost.
FIRST = Recipe(4, 64, 20, 128, 5e-3, shift=2.5, line=0.27, dirt=0.15, tilt=0.15, moves=1)
SECOND = Recipe(1, 32, 30, 64, 4e-3, shift=1.2, line=0.12, dirt=0.08)


class Network(nn.Module):
    """One network of a `duplex.interruption.network.InterruptionNetwork`, to be trained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.unit = nn.GRU(FEATURES, width, batch_first=True)
        self.output = nn.Linear(width, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, T, FEATURES] to logits [B, T]."""
        return self.output(self.unit(features)[0])[..., 0]


def examples(heard: Sequence[Heard]) -> Examples:
    """For the first networks: features [N, T, FEATURES] of each sound's first frames, labels [N],
    and weights [N, T]."""
    rows, labels, weights = [], [], []
    sounds = [(one, first, last) for one in heard for first, last in one.sounds()]
    share = shares([one.event.kind for one, _, _ in sounds])
    for one, first, last in sounds:
        start = max(0, first - BEFORE_FRAMES)
        row = np.zeros((LONGEST + BEFORE_FRAMES, FEATURES), np.float32)
        part = one.features[start : min(last, first + LONGEST)]
        row[: len(part)] = part
        weight = np.zeros(len(row), np.float32)
        weight[first - start : len(part)] = share[one.event.kind]
        weight[first - start :][DECIDES] *= 3
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


def varied(features: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """As smaller and larger speakers would have them, through other lines, with dirt, earlier or
    later, and at times without the caller's level."""
    count, length = features.shape[:2]
    if recipe.moves:
        late = torch.randint(-recipe.moves, recipe.moves + 1, (count, 1))
        moved = (torch.arange(length) + late).clamp(0, length - 1)
        features = features.gather(1, moved[..., None].expand(-1, -1, FEATURES))
    bands = features[..., : 2 * BANDS].unflatten(-1, (2, BANDS))
    shift = (2 * torch.rand(count, 1, 1, 1) - 1) * recipe.shift
    at = (torch.arange(BANDS) + shift.expand(-1, length, 2, BANDS)).clamp(0, BANDS - 1)
    low = at.floor().long().clamp(max=BANDS - 2)
    part = at - low
    bands = bands.gather(-1, low) * (1 - part) + bands.gather(-1, low + 1) * part
    if recipe.tilt:
        tilt = recipe.tilt * torch.randn(count, 1, 1, 1)
        bands = bands + tilt * torch.linspace(-1, 1, BANDS)
    bands = bands + recipe.line * torch.randn(count, 1, 1, BANDS)
    bands = bands + recipe.dirt * torch.randn_like(bands)
    rest = features[..., 2 * BANDS :].clone()
    rest[..., -1] *= (torch.rand(count, 1) > 0.2).float()
    rest = rest + 0.05 * torch.randn_like(rest)
    return torch.cat([bands.flatten(-2), rest], dim=-1)


def train(examples: Examples, recipe: Recipe, seed: int) -> Network:
    """Fit one network, with noise on what it sees."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    features, labels, weights = examples
    network = Network(recipe.width)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=1e-2)
    steps = recipe.epochs * (len(labels) // recipe.batch + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    loss_of = nn.BCEWithLogitsLoss(reduction="none")
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(labels)).split(recipe.batch):
            logits = network(varied(features[batch], recipe))
            losses = loss_of(logits, labels[batch, None].expand_as(logits)) * weights[batch]
            optimizer.zero_grad()
            (losses.sum() / weights[batch].sum()).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network


def fit(examples: Examples, recipe: Recipe, seed: int) -> dict[str, Any]:
    """All networks of a recipe, as `duplex.interruption.network.InterruptionNetwork` takes them."""
    networks = [train(examples, recipe, seed + number) for number in range(recipe.networks)]
    named: dict[str, list[Any]] = {
        "input": [one.unit.weight_ih_l0 for one in networks],
        "hidden": [one.unit.weight_hh_l0 for one in networks],
        "input_bias": [one.unit.bias_ih_l0 for one in networks],
        "hidden_bias": [one.unit.bias_hh_l0 for one in networks],
        "output": [one.output.weight[0] for one in networks],
        "output_bias": [one.output.bias for one in networks],
    }
    return {name: torch.stack(values).detach().numpy() for name, values in named.items()}


def main() -> None:
    """Run the training from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    Workbench.add_arguments(parser)
    weights = ROOT / "duplex" / "interruption" / "weights"
    parser.add_argument("--out", type=Path, default=weights, help="a folder")
    arguments = parser.parse_args()
    bench, seed = Workbench.from_arguments(arguments), arguments.seed
    heard, said = [], []
    # After the first, the same voices and words in other places.
    draws = [(COUNTS["train"], seed), *((COUNTS["train, again"], seed + n) for n in (1, 2, 3))]
    for counts, number in draws:
        for one in bench.heard("train", counts, number):
            heard.append(without_sound(one))
            said.append((one.event.kind, said_after(one, bench)))
    for number in (seed + 10, seed + 11):
        heard += map(without_sound, bench.heard("train", COUNTS["train, more"], number))
    save(arguments.out / "first_syllable.npz", fit(examples(heard), FIRST, seed))
    second = utterances([(kind, one) for kind, one in said if one])
    save(arguments.out / "whole_utterance.npz", fit(second, SECOND, seed))


def save(path: Path, weights: dict[str, np.ndarray]) -> None:
    """Write a network, and print its entry for ``weights/manifest.toml``."""
    np.savez(path, **weights)  # type: ignore[arg-type]
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f'[{path.stem}]\nfile = "{path.name}"\nsha256 = "{sha256}"\n')


def without_sound(heard: Heard) -> Heard:
    """The same without its tracks, of which a thousand take a gigabyte."""
    none = np.empty(0, np.float32)
    scene = replace(heard.event.scene, microphone=none, silenced=none, answer=none)
    return replace(heard, event=replace(heard.event, scene=scene))


def said_after(heard: Heard, bench: Workbench) -> Said | None:
    """What is said in an event if the answer stops 250 ms into it."""
    stops = heard.event.scene.onset + SAMPLE_RATE // 4
    return said_in(hear_stopped(heard, stops, bench.vad, first_syllable()))


if __name__ == "__main__":
    main()
