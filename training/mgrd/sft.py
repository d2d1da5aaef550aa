"""Supervised fine-tuning on written answers."""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from transformers import Qwen2ForCausalLM
from trl import SFTConfig, SFTTrainer

from training.mgrd.prompts import Example
from training.mgrd.tokens import IdTokenizer


def train(
    model: Qwen2ForCausalLM,
    tokenizer: IdTokenizer,
    examples: Sequence[Example],
    *,
    epochs: float,
    batch: int,
    rate: float,
    seed: int,
    folder: Path,
    is_bfloat16: bool = False,
) -> list[float]:
    """Train the model in place on the answers only; returns the losses on the way."""
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
            output_dir=str(folder),
            num_train_epochs=epochs,
            per_device_train_batch_size=batch,
            learning_rate=rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            max_length=None,
            completion_only_loss=True,
            train_sampling_strategy="group_by_length",
            seed=seed,
            bf16=is_bfloat16,
            use_cpu=not is_bfloat16,
            gradient_checkpointing=False,
            save_strategy="no",
            logging_steps=10,
            report_to=[],
            disable_tqdm=True,
        ),
    )
    trainer.train()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
