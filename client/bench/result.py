"""What a benchmark run found; plain data, written to JSON as it is."""

from dataclasses import dataclass
from typing import Any

from client.bench.machine import Machine
from client.bench.stats import Ratio, Summary, summarise
from client.bench.word_errors import WordErrors, pooled
from client.caller.turns import TurnResult


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
class Lanes:
    """A call to be looked at: the loudest sample of each ``step_ms`` on either side."""

    step_ms: float
    said: tuple[float, ...]
    heard: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class BenchCall:
    """One call; ``refused`` has the server's words if it did not take it."""

    turns: tuple[BenchTurn, ...] = ()
    errors: tuple[str, ...] = ()
    late_ms: float = 0.0
    refused: str | None = None
    lost: str | None = None
    lanes: Lanes | None = None


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
    def asked(self) -> list[BenchTurn]:
        """The turns that wanted an answer."""
        return [turn for turn in self.turns if not turn.turn.backchannel]

    @property
    def said_into_answers(self) -> list[BenchTurn]:
        """The turns that were in fact said into an answer that could be heard; of backchannels,
        only these, not the questions that follow them."""
        return [turn for turn in self._into if not turn.turn.ended_by_itself]

    @property
    def ended_by_themselves(self) -> list[BenchTurn]:
        """Those that were said into an answer that was over before it could be stopped: neither
        stopped nor missed."""
        return [turn for turn in self._into if turn.turn.ended_by_itself]

    @property
    def _into(self) -> list[BenchTurn]:
        into = [turn for turn in self.turns if turn.turn.barge_in_ms is not None]
        if self.scenario == "backchannels":
            return [turn for turn in into if turn.turn.backchannel]
        return into

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
        """Turns that wanted an answer of which none was heard; no percentile holds them."""
        return sum(turn.turn.v2v_ms is None for turn in self.asked)

    @property
    def stopped(self) -> list[BenchTurn]:
        """The turns whose speech stopped an answer for good."""
        into = self.said_into_answers
        return [t for t in into if t.turn.interrupted and t.turn.resume_gap_ms is None]

    @property
    def v2v(self) -> Summary | None:
        """Voice-to-voice in ms."""
        return summarise(turn.turn.v2v_ms for turn in self.turns)

    @property
    def stop(self) -> Summary | None:
        """From the caller's onset to the silence of an answer that stopped for good, in ms."""
        return summarise(turn.turn.barge_in_ms for turn in self.stopped)

    @property
    def resume_gap(self) -> Summary | None:
        """The silence within answers that were cut short and went on, in ms."""
        return summarise(turn.turn.resume_gap_ms for turn in self.said_into_answers)

    @property
    def question_errors(self) -> WordErrors | None:
        """Over its questions; None if the server transcribes nothing."""
        if not any(turn.turn.transcript for turn in self.asked):
            return None
        return pooled(turn.question_errors for turn in self.asked)

    def mark(self, name: str) -> Summary | None:
        """One of the server's marks, in ms after the end of speech."""
        return summarise(turn.turn.marks.get(name) for turn in self.turns)


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One run against one server.

    ``condition`` names it where several are compared. ``models`` is what the caller of `bench`
    says the server runs, ``session`` what the server itself reported. ``settings``: what the
    scenarios were run with. ``aborted`` tells why the run ended early, if it did.
    """

    condition: str
    made_at: str
    command: str
    commit: str | None
    machine: Machine
    models: dict[str, str]
    session: dict[str, Any]
    groups: tuple[Group, ...]
    settings: dict[str, Any]
    ready_s: float | None = None
    idle_mib: float | None = None
    aborted: str | None = None

    def group(self, scenario: str, callers: int | None = None) -> Group | None:
        """The group of a scenario, or None if it was not run."""
        for group in self.groups:
            if group.scenario == scenario and callers in (None, group.callers):
                return group
        return None

    @property
    def held(self) -> int:
        """Calls that were taken and lasted to their end."""
        calls = (call for group in self.groups for call in group.calls)
        return sum(call.refused is None and call.lost is None for call in calls)

    @property
    def turns(self) -> list[BenchTurn]:
        """All turns of the run."""
        return [turn for group in self.groups for turn in group.turns]

    @property
    def answer_errors(self) -> WordErrors | None:
        """Over all answers that were heard to the end."""
        return pooled(turn.answer_errors for turn in self.turns)


@dataclass(frozen=True, slots=True)
class MeasuringError:
    """What the bench adds to a delay that is known exactly, in ms: ``bias`` is its median.

    ``v2v``: of answers' delays; ``stop``: of answers that were told to stop.
    """

    v2v: Summary
    stop: Summary | None
    v2v_errors: tuple[float, ...]
    stop_errors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of two servers. ``ratio`` is the first's over the second's."""

    scenario: str
    figure: str
    first: float | None
    second: float | None
    ratio: Ratio | None


@dataclass(frozen=True, slots=True)
class Check:
    """A figure beside the limit that it was given. ``met`` is None if it was not measured.

    Of percentiles and shares, ``n`` is the count, ``interval`` the 95 % one (a bound is None where
    so few values have none), and ``sure`` tells whether all of it is within the limit.
    """

    metric: str
    limit: str
    measured: float | None
    met: bool | None
    required: bool  # whether missing it fails the command
    n: int | None = None
    interval: tuple[float | None, float | None] | None = None
    sure: bool | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that one command found. The first result is the main one."""

    results: tuple[BenchResult, ...]
    measuring: MeasuringError | None = None
    compared: tuple[Compared, ...] = ()
    checks: tuple[Check, ...] = ()
