"""Self-cognition: a model that hears and says that it cannot is corrected by preferences."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.mgrd import rewards, thoughts
from training.mgrd.device import on_device
from training.mgrd.policy import Policy
from training.mgrd.tasks import Question
from training.mgrd.tokens import written


def denial_rate(policy: Policy, questions: Sequence[Question]) -> tuple[int, int]:
    """How many of the drawn answers deny hearing, and how many were drawn."""
    drawn = policy.complete([policy.writer.prompt(q) for q in questions], samples=1)
    return sum(thoughts.denies_hearing(text) for (text,) in drawn), len(drawn)


def pairs(policy: Policy, questions: Sequence[Question], count: int) -> list[dict[str, str]]:
    """Preferences for TRL: the policy's own answer where it does not deny, over a denial."""
    drawn = policy.complete([policy.writer.prompt(q) for q in questions[:count]], samples=1)
    denial = policy.writer.answer("", thoughts.CANNOT_HEAR)[:-1]  # TRL puts the end behind it
    found = []
    for question, (text,) in zip(questions, drawn, strict=False):
        thought, answer = rewards.split(text)
        if answer and not thoughts.denies_hearing(text):
            found.append(
                {
                    "prompt": written(policy.writer.prompt(question)),
                    "chosen": written(policy.writer.answer(thought, answer)[:-1]),
                    "rejected": written(denial),
                }
            )
    return found


def prefer(policy: Policy, preferences: list[dict[str, str]], *, seed: int, folder: Path) -> float:
    """DPO (Rafailov et al. 2023) in place; returns the share of pairs that end up in order."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    scale = policy.scale
    trainer = DPOTrainer(
        model=policy.model,
        ref_model=copy.deepcopy(policy.model),
        processing_class=policy.tokenizer,
        train_dataset=Dataset.from_list(preferences),
        args=DPOConfig(
            output_dir=str(folder),
            num_train_epochs=1,
            per_device_train_batch_size=min(scale.sft_batch, 16),
            learning_rate=scale.dpo_rate,
            beta=scale.dpo_beta,
            max_length=None,
            seed=seed,
            **on_device(scale),
            gradient_checkpointing=False,
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
        ),
    )
    trainer.train()
    ordered = [
        float(entry["rewards/accuracies"])
        for entry in trainer.state.log_history
        if "rewards/accuracies" in entry
    ]
    return float(np.mean(ordered[-5:])) if ordered else 0.0
