"""The report's sections: a heading, words, figures and tables each. An empty one is not shown."""

from collections.abc import Callable, Sequence
from html import escape

from client.bench import charts, plots, tables
from client.bench.metrics import from_few
from client.bench.plots import Axis, Series, axis_of
from client.bench.result import BenchResult, BenchTurn, Group, Report
from client.drawing import svg

BIN_MS = 50.0
MEASURE = (
    "All times are measured from audio at the client: from the caller's last speech sample, "
    "placed when the microphone took it, to the first audible sample of the answer, placed when "
    "it is heard. A caller listens to the whole answer before speaking again."
)
CLEAR = ("short", "long", "noise", "phone")  # scenarios whose delays are drawn together


def section(title: str, body: str) -> str:
    """A heading and what belongs to it."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n" if body else ""


def measured(report: Report) -> str:
    """What the figures mean, what was aimed at, and how far to trust them."""
    body = f"<p>{MEASURE}</p>"
    if report.checks:
        body += tables.checks(report.checks, from_few(report.results[0]))
    if report.measuring is not None:
        body += (
            "<h3>The bench's own error</h3><p>Clicks at delays that are known exactly, answered "
            "by a server of the bench's own in another process, through the same client: what "
            "is measured too much. Nothing is subtracted from any figure."
            f"</p>{tables.measuring(report.measuring)}"
        )
    for result in report.results:
        if result.aborted is not None:
            words = f"{result.condition}: the run ended early: {result.aborted}"
            body += f'<p class="bad">{escape(words)}</p>'
    return section("Goals and measuring error", body)


def comparison(report: Report) -> str:
    """Two servers, call by call in turn, in the same minutes."""
    if not report.compared:
        return ""
    first, second = report.results[:2]
    names = (first.condition, second.condition)
    curves = []
    for index, result in enumerate((first, second)):
        group = result.group("short")
        if group is not None:
            curves.append((result.condition, _delays(group), svg.SERIES[index]))
    return section(
        f"{names[0]} against {names[1]}",
        "<p>Call by call in turn, the same utterances, so that what the machine and the network "
        "did met both. A ratio's interval is from resampling pairs.</p>"
        f"{charts.ratios(report.compared, *names)}"
        f"<h3>Short questions</h3>{charts.ecdf(curves, VOICE_TO_VOICE)}"
        f"{tables.compared(report.compared, *names)}",
    )


VOICE_TO_VOICE = "voice-to-voice in milliseconds; share of turns upwards"


def overview(result: BenchResult) -> str:
    """Every scenario in a line, and the delays of those that compare."""
    groups = [group for group in result.groups if group.scenario != "history"]
    if not groups:
        return ""
    curves = [
        (group.scenario, _delays(group), svg.SERIES[CLEAR.index(group.scenario)])
        for group in groups
        if group.scenario in CLEAR
    ]
    return section(
        f"All scenarios: {result.condition}",
        f"{tables.overview(groups)}{charts.ecdf(curves, VOICE_TO_VOICE)}",
    )


def delay(result: BenchResult) -> str:
    """The single caller's turns, one by one and in sum."""
    short = result.group("short")
    if short is None:
        return ""
    found = short.v2v
    values = _delays(short)
    marks = [("p50", found.p50), ("p95", found.p95)] if found else []
    return section(
        f"One call: {result.condition}",
        "<p>Each row is a turn. The upper bar is the wait for the endpoint; the lower ones are "
        "the work, begun before it at the first short pause, as far as the server tells of it. "
        f"The dot is where the answer is heard.</p>{plots.waterfall(short.turns)}"
        f"<h3>Distribution</h3>{plots.histogram(values, marks, BIN_MS)}"
        f"<h3>Stages</h3><p>Milliseconds after the end of speech.</p>{tables.stage_table(short)}",
    )


def into_answers(result: BenchResult) -> str:
    """Interruptions and backchannels."""
    body = ""
    for scenario, heading, words in (
        (
            "interruptions",
            "Interruptions",
            "Said by a caller who does not want to hear the rest: the answer is to stop at once.",
        ),
        (
            "backchannels",
            "Backchannels",
            "“Mm-hm”, “yeah”: said by a caller who listens. The answer is to go on. One that "
            "falls silent and goes on where it was, also in a response of its own, has gone on.",
        ),
    ):
        group = result.group(scenario)
        if group is not None:
            body += f"<h3>{heading}</h3><p>{words}</p>{charts.events(group.said_into_answers)}"
            body += tables.into_answers(group)
    return section(f"Said into answers: {result.condition}", body)


def phone(result: BenchResult) -> str:
    """The telephone line beside the clean sound."""
    group = result.group("phone")
    if group is None:
        return ""
    line = result.settings.get("line") or {}
    told = ", ".join(f"{name} {value:g}" for name, value in line.items() if _is_number(value))
    return section(
        f"Telephone line: {result.condition}",
        f"<p>8 kHz, {escape(str(line.get('codec')))}, both ways: {escape(told)}. The line's own "
        "delay (twice its buffer) is in the figures; delays and words are of the far ends."
        f"</p>{tables.phone_table(result)}",
    )


def load(results: Sequence[BenchResult]) -> str:
    """Several callers at a time."""
    body = ""
    for result in results:
        many = [group for group in result.groups if group.scenario == "concurrent"]
        if many:
            groups = [*filter(None, [result.group("short")]), *many]
            body += f"<h3>{escape(result.condition)}</h3>{plots.load_curve(groups)}"
            body += tables.load_table(groups)
    note = (
        "<p>Callers start one after another and each listens to the answers to their end. A call "
        "that the server refuses is counted and not retried.</p>"
    )
    return section("Several calls at a time", note + body) if body else ""


def pauses(results: Sequence[BenchResult]) -> str:
    """Callers who stop to think."""
    with_pauses = [result for result in results if result.group("pauses")]
    if not with_pauses:
        return ""
    body = (
        "<p>How often a caller who stops to think within a sentence is cut off, and the delay "
        f"that is paid for not doing so more often.</p>{tables.cut_off_table(with_pauses)}"
    )
    points = []
    for result in with_pauses:
        group, short = result.group("pauses"), result.group("short")
        assert group is not None  # filtered above
        body += f"<h3>{escape(result.condition)}</h3>{plots.pause_strip(group.turns)}"
        if short is not None and short.v2v is not None and group.turns:
            share = 100 * group.cut_offs / len(group.turns)
            points.append((result.condition, (short.v2v.p50, share)))
    if len(points) > 1:
        series = [
            Series(label, [point], svg.SERIES[index % len(svg.SERIES)], radius=6)
            for index, (label, point) in enumerate(points)
        ]
        x = axis_of([point[0] for _, point in points], "ms")
        chart = plots.scatter(
            series, x, Axis(0, 105, "%"), "voice-to-voice p50 in ms; cut off in % upwards"
        )
        body += f"<h3>Cut-offs against delay</h3>{chart}"
    return section("Pauses within an utterance", body)


def prefill(results: Sequence[BenchResult]) -> str:
    """Delay against what there is to be prefilled, from the marks of a server that tells them."""

    def first_token(turn: BenchTurn) -> float | None:
        return turn.turn.marks.get("first_token")

    def brain(turn: BenchTurn) -> float | None:
        marks = turn.turn.marks
        if "first_token" in marks and "ear" in marks:
            return marks["first_token"] - marks["ear"]
        return None

    def length(turn: BenchTurn) -> float:
        return turn.turn.speech_ms / 1000

    body = ""
    for heading, scenario, x_of, label in (
        ("Against the length of the turn", "long", length, "length of the turn in seconds"),
        ("Against the length of the history", "history", None, "turns before this one"),
    ):
        for what, y_of in (
            ("end of speech to first token", first_token),
            ("ear to first token", brain),
        ):
            series = []
            for index, result in enumerate(results):
                group = result.group(scenario)
                points = _points(group, x_of, y_of) if group else []
                if points:
                    css = svg.SERIES[index % len(svg.SERIES)]
                    series.append(Series(result.condition, points, css, joined=True))
            if series:
                every = [point for one in series for point in one.points]
                x = axis_of([px for px, _ in every], "")
                y = axis_of([py for _, py in every], "ms")
                chart = plots.scatter(series, x, y, f"{label}; {what} in ms upwards")
                body += f"<h3>{heading}: {what}</h3>{chart}"
    return section("Delay against the amount to be prefilled", body) if body else ""


def _points(
    group: Group,
    x_of: Callable[[BenchTurn], float] | None,
    y_of: Callable[[BenchTurn], float | None],
) -> list[tuple[float, float]]:
    """One point a turn; without ``x_of``, at the number of turns before it in its call."""
    points = []
    for call in group.calls:
        for index, turn in enumerate(call.turns):
            value = y_of(turn)
            if value is not None:
                points.append((float(index) if x_of is None else x_of(turn), value))
    return points


def timelines(result: BenchResult) -> str:
    """The first call of a few scenarios, from its beginning to its end."""
    body = ""
    for scenario in ("short", "interruptions", "backchannels", "phone"):
        group = result.group(scenario)
        if group is not None and group.calls[0].lanes is not None:
            body += f"<h3>{escape(scenario)}</h3>{charts.lanes(group.calls[0])}"
    key = plots.legend([("caller", "caller"), ("assistant", "assistant")])
    return section(f"Calls as they were heard: {result.condition}", key + body) if body else ""


def memory(result: BenchResult) -> str:
    """The server's memory."""
    return section("Memory", tables.memory_table(result))


def texts(result: BenchResult) -> str:
    """What was said, for a reader to judge."""
    blocks = []
    for index, group in enumerate(group for group in result.groups if group.turns):
        opened = " open" if index == 0 else ""
        blocks.append(
            f"<details{opened}><summary>{tables.scenario(group)}: {len(group.turns)} turns"
            f"</summary>{tables.conversation_table(group.turns)}</details>"
        )
    return section(f"What was said: {result.condition}", "".join(blocks))


def made(results: Sequence[BenchResult]) -> str:
    """How to do it again."""
    rows = [
        [
            escape(result.condition),
            escape(result.commit or "unknown"),
            escape(f"{result.machine.system}; {result.machine.python}"),
            f"<code>{escape(result.command)}</code>",
        ]
        for result in results
    ]
    note = "<p>Every turn with every mark is in <code>bench.json</code> beside this page.</p>"
    return section(
        "How it was made", note + tables.table(["run", "commit", "system", "command"], rows)
    )


def _delays(group: Group) -> list[float]:
    return [turn.turn.v2v_ms for turn in group.turns if turn.turn.v2v_ms is not None]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
