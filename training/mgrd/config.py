"""Everything that is fixed before a run, and the criteria by which its results are judged."""

from dataclasses import dataclass, replace
from typing import Literal

Reward = Literal["correct", "correct+format"]
Select = Literal["3-6", "0", "all"]
Thoughts = Literal["grounded", "surrogate", "none"]

CLAIMS = ("C1", "C5", "C2", "C3", "C4")  # in the order in which a study runs them
CORRECT_WEIGHT, THINKS_WEIGHT = 0.8, 0.2  # of the report, section 4
LENGTHS = (0, 4, 8, 16)  # tokens of a thought that are let stand, where C3 looks at it
PASS_K, PASS_WINDOW = 8, (3, 6)


@dataclass(frozen=True, slots=True)
class Decoder:
    """A Qwen2 decoder from scratch."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes and numbers of one scale. ``decoder`` None: Qwen2.5-Coder-0.5B."""

    name: str
    decoder: Decoder | None
    questions: int  # for training; as many again are set aside, a fifth for the test
    test_questions: int
    pool: int  # prompts that selection looks at
    sft_epochs: int
    sft_batch: int
    sft_rate: float
    rl_steps: int
    rl_prompts: int  # a step
    rl_samples: int  # a prompt
    rl_rate: float
    rl_set: int  # different prompts that RL sees
    distil_epochs: int
    denial_prompts: int
    denial_pairs: int
    kinds: tuple[str, ...] = ()  # of `duplex eval sounds` that are asked; empty: all
    max_new_tokens: int = 56
    temperature: float = 1.0
    clip: float = 0.2
    kl: float = 0.0
    distil_rate: float = 3e-4
    dpo_beta: float = 0.1
    dpo_rate: float = 1e-4
    thought_share: float = 0.5  # of cold-start answers; the report has 0.1
    denial_share: float = 0.07  # of cold-start answers that deny hearing
    conflict_share: float = 0.25  # of training items that claim something of their own sound
    rl_rows: int = 0  # answers in a forward pass of RL; 0: all of a step
    has_bfloat16: bool = False  # on a GPU
    lora_rank: int = 0  # 0: all weights of the decoder are trained


S = Scale(
    name="S", decoder=Decoder(4, 256, 704, 4, 2), questions=3000, test_questions=600, pool=1200,
    sft_epochs=4, sft_batch=32, sft_rate=1e-3,
    rl_steps=150, rl_prompts=16, rl_samples=8, rl_rate=3e-4, rl_set=400,
    distil_epochs=2, denial_prompts=500, denial_pairs=400,
)  # fmt: skip
# The smallest that can decide: what three seeds of every arm take on two busy cores.
XS = replace(
    S, name="XS", decoder=Decoder(3, 128, 352, 4, 2), questions=1200, test_questions=270, pool=400,
    kinds=("pitch", "count", "order", "tempo", "length"),
    sft_epochs=14, sft_batch=16, sft_rate=2e-3,
    rl_steps=100, rl_prompts=4, rl_set=160, max_new_tokens=40,
)  # fmt: skip
# Of a test: every stage runs, and nothing is learnt.
TINY = replace(
    S, name="TINY", decoder=Decoder(2, 64, 128, 2, 1), questions=20, test_questions=10, pool=10,
    sft_epochs=1, sft_batch=10, rl_steps=2, rl_prompts=2, rl_samples=4, rl_set=8,
    distil_epochs=1, denial_prompts=10, denial_pairs=4, max_new_tokens=16,
)  # fmt: skip
# Written for 20 minutes on one GPU with 80 GB. It has not been run there.
M = replace(
    S, name="M", decoder=None, questions=6000, test_questions=600, pool=1200,
    sft_epochs=2, sft_batch=32, sft_rate=2e-4,
    rl_steps=60, rl_prompts=16, rl_samples=16, rl_rate=2e-5, rl_set=800, rl_rows=64,
    distil_epochs=1, denial_prompts=500, denial_pairs=800, max_new_tokens=96,
    distil_rate=1e-4, dpo_rate=1e-5, has_bfloat16=True, lora_rank=64,
)  # fmt: skip
# Of M, to see that its parts fit together.
M_TINY = replace(
    TINY, name="MTINY", decoder=None, lora_rank=4, sft_rate=1e-4, rl_rate=1e-5, rl_rows=4,
    sft_batch=4, questions=8, pool=4, test_questions=4, max_new_tokens=8,
)  # fmt: skip
SCALES = {scale.name: scale for scale in (S, XS, TINY, M, M_TINY)}


@dataclass(frozen=True, slots=True)
class Criteria:
    """When a claim counts as reproduced. Fixed before any run.

    Shares and accuracies are 0 to 1, of greedy answers to test questions unless it says otherwise.
    Intervals are 95 %, by resampling seeds and questions. With fewer than ``seeds`` seeds nothing
    is decided. Where a criterion is a difference with an interval, it is met, or it is out of
    reach (the whole interval lies below it: not reproduced), or it is not decided.
    """

    seeds: int = 3
    # C1: share of thoughts that are not empty, last tenth of RL, with the format reward less
    # without it, in every seed.
    c1_share_difference: float = 0.5
    # C2: accuracy on held-out prompts of the pool's kinds at equal steps and set size, window of
    # pass@8 less failed-only: the mean, and the whole interval above zero.
    c2_difference: float = 0.10
    # C3: accuracy on conflict items, grounded less surrogate: the mean, and the interval above
    # zero; and the slope of accuracy over the allowed length of thoughts: above zero for grounded,
    # not above zero for surrogate ones.
    c3_difference: float = 0.15
    # C4: groundedness and accuracy of each round not below those of the round before by more than
    # the interval, and those of the last above those of the first.
    # C5: rate of denials of hearing in answers sampled at temperature 1: the filter at least
    # halves it, DPO brings it below this, and accuracy keeps within this.
    c5_filter_ratio: float = 0.5
    c5_rate: float = 0.005
    c5_accuracy_change: float = 0.01


CRITERIA = Criteria()


@dataclass(frozen=True, slots=True)
class Wish:
    """One run: what it starts from, and the ablations that it makes."""

    scale: Scale
    seed: int
    reward: Reward = "correct+format"
    select: Select = "3-6"
    thoughts: Thoughts = "grounded"
    rounds: int = 1
