"""Reinforcement learning with rewards that are computed: GRPO, where the report has PPO.

With a terminal reward and gamma = lambda = 1, PPO's advantage is R - V(s), and GRPO's is R less the
mean of the group (over its deviation). There is no critic here, and no KL, as in the report.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import Qwen2ForCausalLM, TrainerCallback

from training.mgrd import rewards
from training.mgrd.config import Reward, Scale
from training.mgrd.device import trainer_arguments
from training.mgrd.tasks import Question
from training.mgrd.tokens import IdTokenizer, written

Curve = list[dict[str, float]]
_KEPT = {
    "rewards/correct/mean": "correct",
    "reward": "reward",
    "frac_reward_zero_std": "useless_groups",
    "completions/mean_length": "tokens",
    "completions/clipped_ratio": "clipped",
}


class _Watched(TrainerCallback):
    """Notes of each step what the reward functions saw: TRL logs rewards, not thoughts."""

    def __init__(self) -> None:
        self.thinking: list[list[float]] = [[]]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.thinking.append([])


def train(
    model: Qwen2ForCausalLM,
    tokenizer: IdTokenizer,
    prompts: Mapping[str, Sequence[int]],
    questions: Mapping[str, Question],
    scale: Scale,
    *,
    reward: Reward,
    seed: int,
    folder: Path,
) -> Curve:
    """Train the model in place on the prompts, by the questions' ids; returns what each step saw:
    rewards, the share of thoughts that are not empty, their length, groups without a signal."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    whole = scale.rl_prompts * scale.rl_samples
    at_once = scale.rl_rows or whole
    functions, weights = rewards.functions(reward, questions)
    watched = _Watched()

    def watch(completions: Sequence[str], **_: Any) -> list[float]:
        watched.thinking[-1] += [float(rewards.thinks(text)) for text in completions]
        return [0.0] * len(completions)

    rows = [{"prompt": written(prompts[id_]), "question": id_} for id_ in sorted(prompts)]
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=[*functions, watch],
        train_dataset=Dataset.from_list(rows),
        callbacks=[watched],
        args=GRPOConfig(
            **trainer_arguments(scale, seed=seed, folder=folder),
            max_steps=scale.rl_steps,
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=whole // at_once,
            num_generations=scale.rl_samples,
            max_completion_length=scale.max_new_tokens,
            temperature=scale.temperature,
            top_k=0,
            learning_rate=scale.rl_rate,
            lr_scheduler_type="constant",
            beta=scale.kl,
            epsilon=scale.clip,
            loss_type="dapo",
            scale_rewards="group",
            reward_weights=[*weights, 0.0],
            logging_steps=1,
        ),
    )
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "reward" in entry]
    curve = []
    for entry, thinking in zip(entries, watched.thinking, strict=False):
        step = {name: float(entry[key]) for key, name in _KEPT.items() if key in entry}
        curve.append({**step, "thinks": sum(thinking) / max(len(thinking), 1)})
    return curve
