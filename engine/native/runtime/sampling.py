"""From next-token scores to tokens, for all rows of a step at once, on the device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.brain.call_guard import Bits

# A nucleus is looked for among so many likeliest tokens: what is left out has no share worth
# sorting 158,720 scores for.
NUCLEUS_CANDIDATES = 1024
NO_TOKEN = -1  # of a row whose scores are no numbers


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a row's tokens are chosen. ``temperature`` 0 is greedy."""

    temperature: float = 0.7
    top_p: float = 1.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        """Raises:
        ValueError: an option is out of its range.
        """
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.repetition_penalty <= 0:
            raise ValueError(f"options out of range: {self}")


@dataclass(frozen=True, slots=True)
class Chooser:
    """One row of a step: its options, the answer's tokens so far, the tokens forbidden now, and
    those allowed, if not all others are."""

    sampling: Sampling
    seen: Sequence[int]
    forbidden: Sequence[int] = ()
    allowed: Bits | None = None


def choose(logits: Tensor, rows: Sequence[Chooser], generator: torch.Generator) -> list[int]:
    """One token for each row of ``logits`` [R, V] (fp32; changed in place); `NO_TOKEN` for a row
    with a NaN or an infinite score."""
    sound = logits.amax(-1).isfinite()  # before anything is forbidden; a NaN is every maximum
    _penalise(logits, rows)
    _forbid(logits, rows)
    _keep_allowed(logits, rows)
    if all(chooser.sampling.temperature == 0 for chooser in rows):
        return _as_list(logits.argmax(-1), sound)
    warm = _column([chooser.sampling.temperature for chooser in rows], logits)
    scores = logits / torch.where(warm > 0, warm, 1.0)
    narrow = [i for i, chooser in enumerate(rows) if chooser.sampling.top_p < 1]
    if narrow:
        top_p = _column([rows[i].sampling.top_p for i in narrow], logits)
        scores[narrow] = _nucleus(scores[narrow], top_p)
    # Gumbel-max: the argmax of log-weights plus Gumbel noise is a draw from the softmax.
    noise = torch.empty_like(scores).exponential_(generator=generator).log_().neg_()
    return _as_list((scores + noise * (warm > 0)).argmax(-1), sound)


def _penalise(logits: Tensor, rows: Sequence[Chooser]) -> None:
    """The repetition penalty of Keskar et al. 2019, section 4.1, over each answer's tokens."""
    seen = [row.seen if row.sampling.repetition_penalty != 1 else () for row in rows]
    if not any(seen):
        return
    # One gather and one scatter for all rows. A token that is named twice, or as the filling of
    # a shorter row, gets the same value twice.
    width = max(map(len, seen))
    ids = [[*tokens, *[tokens[0] if tokens else 0] * (width - len(tokens))] for tokens in seen]
    penalties = [row.sampling.repetition_penalty if row.seen else 1.0 for row in rows]
    penalty = _column(penalties, logits)
    where = torch.tensor(ids, device=logits.device)
    chosen = logits.gather(-1, where)
    logits.scatter_(-1, where, torch.where(chosen > 0, chosen / penalty, chosen * penalty))


def _forbid(logits: Tensor, rows: Sequence[Chooser]) -> None:
    at = [(i, token) for i, row in enumerate(rows) for token in row.forbidden]
    if at:
        where = torch.tensor(at, device=logits.device)
        logits[where[:, 0], where[:, 1]] = -torch.inf


def _keep_allowed(logits: Tensor, rows: Sequence[Chooser]) -> None:
    """Rows without a mask are not touched. The masks go to the device packed, a bit for a token."""
    for row, chooser in zip(logits, rows, strict=True):
        if chooser.allowed is None:
            continue
        packed = torch.from_numpy(chooser.allowed.copy()).to(logits.device, non_blocking=True)
        bits = packed[:, None] >> torch.arange(8, device=logits.device, dtype=torch.uint8) & 1
        allowed = bits.flatten()[: len(row)].bool()
        row[: len(allowed)].masked_fill_(~allowed, -torch.inf)
        row[len(allowed) :] = -torch.inf


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype)[:, None]


def _nucleus(scores: Tensor, top_p: Tensor) -> Tensor:
    """All but the smallest set of likeliest tokens whose share reaches ``top_p`` [R, 1] made
    impossible (Holtzman et al. 2020, section 3.1)."""
    best, where = scores.topk(min(NUCLEUS_CANDIDATES, scores.shape[-1]), dim=-1)
    share = (best - scores.logsumexp(-1, keepdim=True)).exp()
    before = share.cumsum(-1) - share
    best = best.masked_fill(before >= top_p, -torch.inf)
    return torch.full_like(scores, -torch.inf).scatter(-1, where, best)


def _as_list(tokens: Tensor, sound: Tensor) -> list[int]:
    # The step's one wait for the device.
    found: list[int] = tokens.where(sound, NO_TOKEN).tolist()
    return found
