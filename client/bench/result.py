"""What a benchmark run found; plain data, written to JSON as it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from client.bench.machine import Machine
from client.bench.stats import Summary, summarise
from client.turns import TurnResult


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Edits that turn one text into another, over the words of the reference."""

    edits: int
    words: int

    @property
    def rate(self) -> float:
        """Word error rate; 0 if there are no words."""
        return self.edits / self.words if self.words else 0.0


@dataclass(frozen=True, slots=True)
class BenchTurn:
    """A turn, and what the scoring made of it.

    ``question_errors``: the server's transcript against the text that was spoken.
    ``answer_heard``, ``answer_errors``: the answer's audio as a recogniser heard it, against the
    answer's text; only of answers that were heard to the end.
    """

    turn: TurnResult
    longest_pause_ms: float
    question_errors: WordErrors | None = None
    answer_heard: str | None = None
    answer_errors: WordErrors | None = None


@dataclass(frozen=True, slots=True)
class BenchCall:
    """One call; ``refused`` has the server's words if it did not take it."""

    turns: tuple[BenchTurn, ...] = ()
    errors: tuple[str, ...] = ()
    late_ms: float = 0.0
    refused: str | None = None
    lost: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The calls of one scenario. ``callers`` of them spoke at the same time."""

    scenario: str
    callers: int
    calls: tuple[BenchCall, ...]
    peak_mib: float | None = None  # the server's resident memory while they ran

    @property
    def turns(self) -> list[BenchTurn]:
        """All turns of all calls."""
        return [turn for call in self.calls for turn in call.turns]

    @property
    def refused(self) -> int:
        """Calls that the server did not take."""
        return sum(call.refused is not None for call in self.calls)

    @property
    def lost(self) -> int:
        """Calls that failed, or ended before they were over."""
        return sum(call.lost is not None for call in self.calls)

    @property
    def cut_offs(self) -> int:
        """Turns in which the caller was cut off."""
        return sum(turn.turn.cut_offs > 0 for turn in self.turns)

    @property
    def unanswered(self) -> int:
        """Turns in which no answer was heard; no percentile holds them."""
        return sum(turn.turn.v2v_ms is None for turn in self.turns)

    @property
    def v2v(self) -> Summary | None:
        """Voice-to-voice in ms."""
        return summarise(turn.turn.v2v_ms for turn in self.turns)

    def mark(self, name: str) -> Summary | None:
        """One of the server's marks, in ms after the end of speech."""
        return summarise(turn.turn.marks.get(name) for turn in self.turns)


@dataclass(frozen=True, slots=True)
class Goals:
    """What is aimed at; None is not asked for. Times in ms, memory in MiB, rates as fractions."""

    v2v_p50_ms: float | None = 500.0
    v2v_p95_ms: float | None = 900.0
    load_calls: int = 4
    load_factor: float | None = 1.5  # p50 with so many calls, over that of one
    ready_s: float | None = 8.0
    resident_mib: float | None = 1.6e9 / 2**20
    answer_wer: float | None = 0.05


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One run against one server.

    ``condition`` names it where several are compared. ``models`` is what the caller of `bench`
    says the server runs, ``session`` what the server itself reported.
    """

    condition: str
    made_at: str
    command: str
    commit: str | None
    machine: Machine
    models: dict[str, str]
    session: dict[str, Any]
    groups: tuple[Group, ...]
    goals: Goals
    ready_s: float | None = None
    idle_mib: float | None = None

    def group(self, scenario: str, callers: int | None = None) -> Group | None:
        """The group of a scenario, or None if it was not run."""
        for group in self.groups:
            if group.scenario == scenario and callers in (None, group.callers):
                return group
        return None

    @property
    def turns(self) -> list[BenchTurn]:
        """All turns of the run."""
        return [turn for group in self.groups for turn in group.turns]

    @property
    def question_errors(self) -> WordErrors | None:
        """Over all questions, those that were not understood at all included; None if the
        server transcribes nothing."""
        if not any(turn.turn.transcript for turn in self.turns):
            return None
        return pooled(turn.question_errors for turn in self.turns)

    @property
    def answer_errors(self) -> WordErrors | None:
        """Over all answers that were heard to the end."""
        return pooled(turn.answer_errors for turn in self.turns)


@dataclass(frozen=True, slots=True)
class GoalOutcome:
    """A goal beside what was measured. ``met`` is None if it was not measured."""

    name: str
    goal: str
    measured: str
    count: str
    met: bool | None


def pooled(errors: Iterable[WordErrors | None]) -> WordErrors | None:
    """All edits over all words, or None if there are none to pool."""
    known = [error for error in errors if error is not None]
    if not known:
        return None
    return WordErrors(sum(e.edits for e in known), sum(e.words for e in known))


def outcomes(result: BenchResult) -> list[GoalOutcome]:
    """Compare the run with its goals; what falls short is told like the rest."""
    goals = result.goals
    single = result.group("single")
    one = single.v2v if single else None
    load = result.group("concurrent", goals.load_calls)
    many = load.v2v if load else None
    answers = result.answer_errors
    cut = f", cut-offs {single.cut_offs}" if single else ""
    turns = f"{one.n} of {len(single.turns)} turns{cut}" if one and single else ""
    words = f"{answers.words} words" if answers else ""
    peak = single.peak_mib if single else None
    factor = many.p50 / one.p50 if many and one and one.p50 > 0 else None
    held = f"{many.n} turns, {load.refused} refused" if many and load else ""
    calls = goals.load_calls
    return [
        outcome
        for outcome in (
            _outcome("voice-to-voice p50", goals.v2v_p50_ms, one.p50 if one else None, "ms", turns),
            _outcome("voice-to-voice p95", goals.v2v_p95_ms, one.p95 if one else None, "ms", turns),
            _outcome(f"p50 of {calls} calls over one", goals.load_factor, factor, "x", held),
            _outcome("time to ready", goals.ready_s, result.ready_s, "s", "1 start"),
            _outcome("resident memory, one call", goals.resident_mib, peak, "MiB", "peak"),
            _outcome(
                "answers' WER", goals.answer_wer, answers.rate if answers else None, "%", words
            ),
        )
        if outcome is not None
    ]


def _outcome(
    name: str, goal: float | None, measured: float | None, unit: str, count: str
) -> GoalOutcome | None:
    if goal is None:
        return None
    limit = f"at most {_value(goal, unit)}"
    if measured is None:
        return GoalOutcome(name, limit, "not measured", "", None)
    return GoalOutcome(name, limit, _value(measured, unit), count, measured <= goal)


def _value(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.1f} %"
    if unit in ("x", "s"):
        return f"{value:.2f} {unit}"
    return f"{value:.0f} {unit}"
