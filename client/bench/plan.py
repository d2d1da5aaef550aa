"""Who says what in which call: the scenarios as lists of utterances."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from client.bench import SCENARIOS
from client.caller.caller import Utterance
from client.sound.speech import Recording
from client.telephone.channel import LineConditions

# Where in an answer something is said, in turn: ms after it can be heard.
INTO_ANSWER_MS = (1200.0, 800.0, 1700.0)


@dataclass(frozen=True, slots=True)
class Recordings:
    """What the callers say. Scenarios without recordings are left out.

    ``talkative`` are questions that are answered at length, for what is said into an answer;
    without them the ordinary ones must do.
    """

    ordinary: Sequence[Recording]
    pauses: Sequence[Recording] = ()
    long: Sequence[Recording] = ()
    talkative: Sequence[Recording] = ()
    interruptions: Sequence[Recording] = ()
    backchannels: Sequence[Recording] = ()

    @property
    def all(self) -> list[Recording]:
        """Every one of them."""
        parts = (self.ordinary, self.pauses, self.long, self.talkative)
        return [item for part in (*parts, self.interruptions, self.backchannels) for item in part]


@dataclass(frozen=True, slots=True)
class Scope:
    """How much of each scenario.

    ``turns`` of the single caller are spread over calls of ``turns_per_call``, which is also the
    length of each concurrent call. ``events``: how many interruptions, and how many backchannels.
    ``line`` and ``snr_db`` are the telephone's and the noise's.
    """

    scenarios: Sequence[str] = SCENARIOS
    turns: int = 20
    turns_per_call: int = 5
    call_counts: Sequence[int] = (2, 4, 8)
    stagger_s: float = 1.3
    events: int = 10
    events_per_call: int = 2
    history_turns: int = 10
    into_answer_ms: Sequence[float] = INTO_ANSWER_MS
    line: LineConditions = field(default_factory=LineConditions)
    noise: str = "pink"
    snr_db: float = 15.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One scenario: how many callers at a time, and the utterances of each call."""

    scenario: str
    callers: int
    calls: tuple[tuple[Utterance, ...], ...]


def plan(scope: Scope, recordings: Recordings) -> list[Plan]:
    """The scenarios that were asked for and can be run, in their order.

    Raises:
        ValueError: an unknown scenario, or no questions.
    """
    if unknown := set(scope.scenarios) - set(SCENARIOS):
        raise ValueError(f"unknown scenario {', '.join(sorted(unknown))}")
    if not recordings.ordinary:
        raise ValueError("there are no questions to ask")
    per_call, ordinary = scope.turns_per_call, recordings.ordinary
    asked = [
        _ask(ordinary, first, min(per_call, scope.turns - first))
        for first in range(0, scope.turns, per_call)
    ]
    pauses = [Utterance(recording) for recording in recordings.pauses]
    plans = [
        Plan("short", 1, tuple(asked)),
        Plan("long", 1, tuple((Utterance(recording),) for recording in recordings.long)),
        Plan("pauses", 1, tuple(_chunks(pauses, per_call))),
        Plan("interruptions", 1, _into_answers(scope, recordings, recordings.interruptions)),
        Plan(
            "backchannels",
            1,
            _into_answers(scope, recordings, recordings.backchannels, backchannel=True),
        ),
        Plan("noise", 1, tuple(asked)),
        Plan("phone", 1, tuple(asked)),
        *(
            Plan("concurrent", n, tuple(_ask(ordinary, i * per_call, per_call) for i in range(n)))
            for n in scope.call_counts
        ),
        Plan("history", 1, (_ask(ordinary, 0, scope.history_turns),)),
    ]
    return [one for one in plans if one.scenario in scope.scenarios and one.calls]


def left_out(scope: Scope, recordings: Recordings) -> list[str]:
    """The scenarios that were asked for and have no recordings."""
    planned = {one.scenario for one in plan(scope, recordings)}
    return [name for name in scope.scenarios if name not in planned]


def _ask(questions: Sequence[Recording], first: int, count: int) -> tuple[Utterance, ...]:
    return tuple(Utterance(questions[(first + i) % len(questions)]) for i in range(count))


def _chunks(utterances: list[Utterance], length: int) -> list[tuple[Utterance, ...]]:
    return [tuple(utterances[i : i + length]) for i in range(0, len(utterances), length)]


def _into_answers(
    scope: Scope,
    recordings: Recordings,
    said: Sequence[Recording],
    *,
    backchannel: bool = False,
) -> tuple[tuple[Utterance, ...], ...]:
    """Calls of a question, something said into its answer, the next question, and so on."""
    if not said:
        return ()
    questions = recordings.talkative or recordings.ordinary
    utterances: list[Utterance] = []
    for event in range(scope.events):
        after_ms = scope.into_answer_ms[event % len(scope.into_answer_ms)]
        utterances.append(Utterance(questions[event % len(questions)]))
        utterances.append(Utterance(said[event % len(said)], after_ms, backchannel))
    return tuple(_chunks(utterances, 2 * scope.events_per_call))
