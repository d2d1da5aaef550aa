"""A score."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Gold = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """``value`` is 0 to 1, or None where nothing could score it; ``picked`` what was taken for
    the answer. ``measures`` are further figures of this answer, averaged by their names."""

    value: float | None
    picked: str | None = None
    is_invalid: bool = False
    measures: Mapping[str, float] = field(default_factory=dict)


INVALID = Score(0.0, is_invalid=True)
NOT_SCORED = Score(None)  # and why is known: there is no judge
