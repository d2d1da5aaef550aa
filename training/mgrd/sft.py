"""Supervised fine-tuning on written answers."""

from collections.abc import Sequence
from pathlib import Path

from transformers import Qwen2ForCausalLM

from training.mgrd.config import Scale
from training.mgrd.device import trainer_arguments
from training.mgrd.prompts import Example
from training.mgrd.tokens import IdTokenizer


def train(
    model: Qwen2ForCausalLM,
    tokenizer: IdTokenizer,
    examples: Sequence[Example],
    scale: Scale,
    *,
    epochs: float,
    rate: float,
    seed: int,
    folder: Path,
) -> list[float]:
    """Train the model in place on the answers only; returns the losses on the way."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [
        {
            "input_ids": [*example.prompt, *example.answer],
            "completion_mask": [0] * len(example.prompt) + [1] * len(example.answer),
        }
        for example in examples
    ]
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        args=SFTConfig(
            **trainer_arguments(scale, seed=seed, folder=folder),
            num_train_epochs=epochs,
            per_device_train_batch_size=scale.sft_batch,
            learning_rate=rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            max_length=None,
            completion_only_loss=True,
            train_sampling_strategy="group_by_length",
            logging_steps=10,
        ),
    )
    trainer.train()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
