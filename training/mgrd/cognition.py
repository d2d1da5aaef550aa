"""Self-cognition: a model that hears and says that it cannot is corrected by preferences."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.mgrd import thoughts
from training.mgrd.device import trainer_arguments
from training.mgrd.distil import without_denials
from training.mgrd.policy import Policy
from training.mgrd.tasks import Question
from training.mgrd.tokens import written


def denial_rate(policy: Policy, questions: Sequence[Question]) -> tuple[int, int]:
    """How many of the drawn answers deny hearing, and how many were drawn."""
    drawn = policy.complete([policy.writer.prompt(q) for q in questions], samples=1)
    return sum(thoughts.denies_hearing(text) for (text,) in drawn), len(drawn)


def pairs(policy: Policy, questions: Sequence[Question], count: int) -> list[dict[str, str]]:
    """Preferences for TRL: the policy's own answer where it does not deny, over a denial."""
    denial = policy.writer.answer("", thoughts.CANNOT_HEAR)[:-1]  # TRL puts the end behind it
    return [
        {
            "prompt": written(example.prompt),
            "chosen": written(example.answer[:-1]),
            "rejected": written(denial),
        }
        for example in without_denials(policy, questions[:count])
    ]


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
            **trainer_arguments(scale, seed=seed, folder=folder),
            num_train_epochs=1,
            per_device_train_batch_size=min(scale.sft_batch, 16),
            learning_rate=scale.dpo_rate,
            beta=scale.dpo_beta,
            max_length=None,
            logging_steps=1,
        ),
    )
    trainer.train()
    ordered = [
        float(entry["rewards/accuracies"])
        for entry in trainer.state.log_history
        if "rewards/accuracies" in entry
    ]
    return float(np.mean(ordered[-5:])) if ordered else 0.0
