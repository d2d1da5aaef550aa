"""The recipe as stages, each of which keeps its weights and its figures: a run that was stopped
goes on where it was, and runs that begin alike share their beginnings."""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from client.evaluation.items import RATE_HZ, Samples, Speaker
from duplex.audio.resample import resample
from engine.features import SAMPLE_RATE_HZ
from training.mgrd import cognition, cold_start, distil, evaluate, rl, sft, tasks
from training.mgrd.config import PASS_K, Scale, Select, Wish
from training.mgrd.features import Frames, FrozenEar, KeptFrames
from training.mgrd.hearing import SoundTable
from training.mgrd.policy import Policy, new_policy
from training.mgrd.prompts import Example
from training.mgrd.select import histogram, select
from training.mgrd.tasks import Question

logger = logging.getLogger(__name__)

Tasks = Literal["sounds", "claims"]
Figures = dict[str, Any]
TRAIN, POOL, TEST = 1, 2, 3  # seeds of the questions; those of a run are of weights and draws


@dataclass(frozen=True, slots=True)
class Sets:
    """Questions for the cold start, for selection, and for the test."""

    train: list[Question]
    pool: list[Question]
    test: list[Question]


class Workshop:
    """A folder of runs at one scale, with what they share."""

    def __init__(
        self, out: Path, scale: Scale, speaker: Speaker, ear: FrozenEar, state: int,
        gguf: Path | None = None, threads: int = 1,
    ) -> None:  # fmt: skip
        """``state``: the width of the ear's frames. ``threads`` make sounds and frames."""
        self._threads = threads
        self.out, self.scale, self.gguf = out, scale, gguf
        self.sounds = SoundTable(state)
        self._speaker, self._ear = speaker, ear
        self._sets: dict[Tasks, Sets] = {}

    def sets(self, which: Tasks) -> Sets:
        """The questions; made once."""
        if which not in self._sets:
            began, scale = time.monotonic(), self.scale
            if which == "sounds":
                made = Sets(
                    self._make(tasks.KINDS, scale.questions, TRAIN),
                    self._make(tasks.OPEN_KINDS, scale.pool, POOL),
                    self._make(tasks.KINDS, scale.test_questions, TEST),
                )
            else:
                of_four = round(4 * scale.conflict_share)
                mixed = ("agreement",) * (4 - of_four) + ("conflict",) * of_four
                made = Sets(
                    self._make(mixed, scale.questions // 3, TRAIN),
                    self._make(mixed, scale.pool // 2, POOL),
                    self._make(("agreement", "conflict"), scale.test_questions, TEST),
                )
            self._sets[which] = made
            logger.info("questions of %s: %.0f s", which, time.monotonic() - began)
        return self._sets[which]

    def _make(self, kinds: Sequence[str], count: int, seed: int) -> list[Question]:
        kept = KeptFrames(self.out / "frames" / f"{'-'.join(kinds)}-{seed}.npz")

        def frames(render: Callable[[], Samples]) -> Frames:
            return self._ear.frames(resample(render(), RATE_HZ, SAMPLE_RATE_HZ))

        def hear(renders: Mapping[str, Callable[[], Samples]]) -> Mapping[str, Frames]:
            with ThreadPoolExecutor(self._threads) as pool:
                get = partial(_get, kept, frames)
                return dict(zip(renders, pool.map(get, renders.items()), strict=True))

        only = (*self.scale.kinds, *tasks.CLAIMS) if self.scale.kinds else ()
        made = tasks.make(kinds, count, seed, self._speaker, hear, only)
        kept.keep()
        return made


def _get(
    kept: KeptFrames,
    frames: Callable[[Callable[[], Samples]], Frames],
    sound: tuple[str, Callable[[], Samples]],
) -> Frames:
    name, render = sound
    return kept.get(name, lambda: frames(render))


class Run:
    """One run: a policy on its way through the stages."""

    def __init__(self, workshop: Workshop, wish: Wish, which: Tasks = "sounds") -> None:
        self.workshop, self.wish, self.which = workshop, wish, which
        self.scale, self.seed = wish.scale, wish.seed
        self._folder = workshop.out / f"{wish.scale.name}-{wish.seed}"
        self._name = ""
        self._loaded = ""
        self._policy: Policy | None = None

    @property
    def policy(self) -> Policy:
        """The policy after the last stage; its weights are read when they are first needed."""
        if self._policy is None:
            workshop = self.workshop
            self._policy = new_policy(self.scale, workshop.sounds, self.seed, workshop.gguf)
        if self._name and self._loaded != self._name:
            self._policy.load(self._folder / f"{self._name}.safetensors")
            self._loaded = self._name
        return self._policy

    @property
    def sets(self) -> Sets:
        """The run's questions."""
        return self.workshop.sets(self.which)

    def recipe(self) -> Figures:
        """Cold start, rounds of distillation and reinforcement learning; without a round,
        reinforcement learning alone. Returns the figures of all stages."""
        stages = {"cold": self.cold_start()}
        for number in range(1, self.wish.rounds + 1):
            stages[f"distil{number}"] = self.distil(number)
            stages[f"rl{number}"] = self.reinforce()
        if not self.wish.rounds:
            stages["rl"] = self.reinforce()
        return stages

    def cognition(self) -> Figures:
        """Cold start, the filter of denials, and preferences."""
        stages = {"cold": self.cold_start()}
        stages["cold_denials"] = self._figures("denials", self._denials)
        stages["filtered"] = self._stage("filtered", self._filter)
        stages["filtered_denials"] = self._figures("denials", self._denials)
        stages["preferred"] = self._stage("preferred", self._prefer)
        stages["preferred_denials"] = self._figures("denials", self._denials)
        return stages

    def cold_start(self) -> Figures:
        """Supervised learning of written answers."""
        wish = self.wish
        scale = self.scale

        def work() -> Figures:
            self.policy.standardise(self.sets.train)
            examples = cold_start.examples(self.policy, self.sets.train, wish.thoughts, self.seed)
            losses = self._learn(examples, scale.sft_epochs, scale.sft_rate)
            return {
                "losses": losses,
                "examples": len(examples),
                "parameters": self.policy.parameters,
            }

        return self._stage(f"{self.which}-{wish.thoughts}", work)

    def distil(self, number: int) -> Figures:
        """Learning from the policy's own grounded answers."""

        def work() -> Figures:
            found = distil.distil(self.policy, self.sets.train[: self.scale.pool])
            kept = {"kept": len(found.examples), "drawn": found.drawn, "right": found.right}
            kept |= {"grounded": found.grounded, "denials": found.denials}
            if found.examples:
                self._learn(found.examples, self.scale.distil_epochs, self.scale.distil_rate)
            return kept

        return self._stage(f"distil{number}", work)

    def reinforce(self) -> Figures:
        """Selection under the policy as it is, and reinforcement learning on what was chosen."""
        wish, scale = self.wish, self.scale
        pool = {question.id: question for question in self.sets.pool}

        def count() -> Figures:
            torch.manual_seed(self.seed)
            counts = evaluate.count_right(self.policy, self.sets.pool, PASS_K)
            return {"counts": counts, "histogram": histogram(counts)}

        counted = self._figures("pass8", count)
        arms: tuple[Select, ...] = ("3-6", "0", "all")
        # All arms learn from equally many prompts, whichever arm this is.
        fits = {arm: select(counted["counts"], arm, scale.rl_set, self.seed) for arm in arms}
        least = min(len(ids) for ids in fits.values())
        size = least if least >= scale.rl_prompts else len(fits[wish.select])
        chosen = fits[wish.select][:size]

        def work() -> Figures:
            policy = self.policy
            curve = rl.train(
                policy.model,
                policy.tokenizer,
                {id_: policy.writer.prompt(pool[id_]) for id_ in chosen},
                pool,
                scale,
                reward=wish.reward,
                seed=self.seed,
                folder=self._folder,
            )
            return {"curve": curve, "prompts": len(chosen), "histogram": counted["histogram"]}

        if not chosen:
            raise ValueError(f"no question of {len(pool)} is in {wish.select} right answers of 8")
        return self._stage(f"rl-{wish.reward}-{wish.select}", work)

    def _learn(self, examples: Sequence[Example], epochs: float, rate: float) -> list[float]:
        return sft.train(
            self.policy.model,
            self.policy.tokenizer,
            examples,
            self.scale,
            epochs=epochs,
            rate=rate,
            seed=self.seed,
            folder=self._folder,
        )

    def _filter(self) -> Figures:
        examples = distil.without_denials(self.policy, self.sets.pool)
        if examples:
            self._learn(examples, self.scale.distil_epochs, self.scale.distil_rate)
        return {"kept": len(examples), "drawn": len(self.sets.pool)}

    def _prefer(self) -> Figures:
        found = cognition.pairs(self.policy, self.sets.pool, self.scale.denial_pairs)
        if not found:
            return {"pairs": 0}
        ordered = cognition.prefer(self.policy, found, seed=self.seed, folder=self._folder)
        return {"pairs": len(found), "ordered": ordered}

    def _denials(self) -> Figures:
        prompts = self.sets.train[: self.scale.denial_prompts]
        denied, drawn = cognition.denial_rate(self.policy, prompts)
        return {"denied": denied, "drawn": drawn}

    def _stage(self, name: str, work: Callable[[], Figures]) -> Figures:
        """Do the work, test the policy and keep both, unless that was done before."""
        after = f"{self._name}.{name}" if self._name else name

        def tested() -> Figures:
            torch.manual_seed(self.seed)
            began = time.monotonic()
            figures = work()
            taught = time.monotonic()
            policy = self.policy
            policy.save(self._folder / f"{after}.safetensors")
            self._loaded = after
            figures["test"] = evaluate.report(evaluate.answers(policy, self.sets.test))
            if self.which == "claims":
                conflicts = [q for q in self.sets.test if q.kind == "conflict"]
                figures["by_length"] = evaluate.by_length(policy, conflicts)
            figures["seconds"] = {"work": taught - began, "test": time.monotonic() - taught}
            return figures

        figures = self._figures(name, tested)
        self._name = after
        return figures

    def _figures(self, name: str, work: Callable[[], Figures]) -> Figures:
        whole = f"{self._name}.{name}" if self._name else name
        path = self._folder / f"{whole}.json"
        if path.exists():
            figures: Figures = json.loads(path.read_text())
            return figures
        logger.info("%s seed %d: %s", self.scale.name, self.seed, whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        figures = work()
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(figures, indent=1))
        fresh.replace(path)
        return figures
