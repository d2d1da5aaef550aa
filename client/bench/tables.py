"""The report's tables."""

from collections.abc import Mapping, Sequence
from html import escape

from client.bench.metrics import added_ms, same_questions, wer_ratio
from client.bench.result import (
    BenchResult,
    BenchTurn,
    Check,
    Compared,
    Group,
    MeasuringError,
)
from client.bench.stats import NEEDED, Summary, share_interval, summarise
from client.bench.word_errors import WordErrors
from client.caller.stages import LABELS, stages

NONE = "–"
FEW = "*"  # after a percentile that the count does not bear
NOTE = (
    f"<p class=note>{FEW} from fewer turns than this percentile needs "
    f"({', '.join(f'p{q}: {n}' for q, n in NEEDED.items() if q > 50)}): close to the largest value "
    "seen. Ranges are 95 % intervals, with a ? where so few turns have no bound; no outlier is "
    "left out.</p>"
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], css: str = "") -> str:
    """A table that scrolls sideways in itself. Cells are HTML: escape texts before."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{css}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def checks(found: Sequence[Check], few: Mapping[str, int]) -> str:
    """Goals and limits beside what was measured, met or not; ``few``: percentiles that their
    count does not bear."""
    rows = []
    for one in found:
        words = {True: '<b class="good">met</b>', False: '<b class="bad">missed</b>', None: NONE}
        met = words[False] if one.required and one.met is None else words[one.met]
        if one.met and one.sure is False:
            met = f"met in {one.n}, too few"
        value = figure(one.measured) + (FEW if one.metric in few else "")
        value += f" <small>n={one.n}</small>" if one.n is not None else ""
        kind = "limit" if one.required else "goal"
        rows.append([f"<code>{escape(one.metric)}</code>", value, met, escape(one.limit), kind])
    return table(["figure", "measured", "", "aim", ""], rows, "left")


def measuring(error: MeasuringError) -> str:
    """What the bench adds to a delay that is known."""
    rows = []
    for name, summary in (("answers", error.v2v), ("stops", error.stop)):
        if summary is not None:
            values = (summary.p50, summary.sd, summary.low, summary.high)
            rows.append([name, *(f"{value:+.2f}" for value in values), str(summary.n)])
            rows[-1][2] = f"{summary.sd:.2f}"
    head = ["clicks at known delays", "median error, ms", "sd", "least", "most", "n"]
    return table(head, rows, "first")


def overview(groups: Sequence[Group]) -> str:
    """One line a scenario."""
    rows = []
    for group in groups:
        answered = f"{len(group.asked) - group.unanswered} of {len(group.asked)}"
        rows.append(
            [
                scenario(group),
                answered,
                *ranges(group.v2v),
                of(group.cut_offs, len(group.turns)),
                rate(group.question_errors),
                str(group.lost + group.refused) if group.lost + group.refused else NONE,
            ]
        )
    head = ["scenario", "answered", "p50, ms", "p95, ms", "p99, ms", "cut off", "question WER"]
    return table([*head, "calls lost"], rows, "first") + NOTE


def compared(found: Sequence[Compared], first: str, second: str) -> str:
    """Two servers' figures and their ratios."""
    rows = []
    for one in found:
        form = "{:.0f}" if one.ratio is not None else "{:.3f}"
        values = (NONE if v is None else form.format(v) for v in (one.first, one.second))
        ratio = NONE
        if one.ratio is not None:
            ratio = f"{one.ratio.value:.2f} <small>{one.ratio.words}</small>"
        rows.append([escape(one.scenario), escape(one.figure), *values, ratio])
    return table(["scenario", "figure", first, second, "ratio"], rows, "first two")


def phone_table(result: BenchResult) -> str:
    """The same questions in the clean and through the telephone line."""
    clean, phone = result.group("short"), result.group("phone")
    if clean is None or phone is None:
        return ""
    pair = same_questions(clean, phone)
    rows = [
        [name, *ranges(group.v2v)[:2], rate(group.question_errors), of(group.unanswered, n)]
        for name, group in zip(("clean", "telephone"), pair, strict=True)
        if (n := len(group.asked))
    ]
    added, ratio = added_ms("phone")(result), wer_ratio("phone")(result)
    told = [NONE if added is None else f"{added:+.0f} ms", NONE]
    rows.append(["difference", *told, NONE if ratio is None else f"{ratio:.2f} x", NONE])
    return table(["the same questions", "p50, ms", "p95, ms", "WER", "unanswered"], rows, "first")


def stage_table(group: Group) -> str:
    """When each stage was reached, and how long it took by itself."""
    reached: dict[str, list[float]] = {}
    took: dict[str, list[float]] = {}
    for turn in group.turns:
        for span in stages(turn.turn):
            reached.setdefault(span.name, []).append(span.end_ms)
            took.setdefault(span.name, []).append(span.end_ms - span.start_ms)
    rows = []
    for name, ends in reached.items():
        at, alone = summarise(ends), summarise(took[name])
        if at is not None and alone is not None:
            label = f'<i style="background:var(--stage-{name})"></i>{LABELS.get(name, name)}'
            values = [f"{value:.0f}" for value in (at.p50, at.p95, alone.p50, alone.p95)]
            rows.append([label, *values, str(at.n)])
    head = ["stage", "reached p50", "reached p95", "took p50", "took p95", "turns"]
    return table(head, rows, "first key-cells")


def load_table(groups: Sequence[Group]) -> str:
    """Calls at a time against delay, refusals and the client's own lateness."""
    rows = []
    for group in groups:
        held = len(group.calls) - group.refused
        late = max((call.late_ms for call in group.calls), default=0.0)
        underruns = sum(turn.turn.underruns for turn in group.turns)
        rows.append(
            [
                str(group.callers),
                of(held, len(group.calls)),
                str(group.refused),
                str(group.lost),
                *percentiles(group.v2v),
                str(group.unanswered),
                of(group.cut_offs, len(group.turns)),
                str(underruns),
                f"{late:.0f} ms",
            ]
        )
    head = ["callers", "calls held", "refused", "lost", "turns", "p50", "p95", "p99", "unanswered"]
    return table([*head, "cut-offs", "underruns", "client late"], rows, "first")


def cut_off_table(results: Sequence[BenchResult]) -> str:
    """How often callers with inner pauses are cut off, beside the delay that buys it."""
    rows = []
    for result in results:
        group, short = result.group("pauses"), result.group("short")
        if group is None:
            continue
        rows.append(
            [
                escape(result.condition),
                share(group.cut_offs, len(group.turns)),
                share(short.cut_offs, len(short.turns)) if short else NONE,
                milliseconds(short.mark("endpoint") if short else None),
                milliseconds(short.v2v if short else None),
            ]
        )
    head = ["run", "cut off, inner pause", "cut off, short", "endpoint p50"]
    return table([*head, "voice-to-voice p50"], rows, "first")


def into_answers(group: Group) -> str:
    """What was said into answers, and what became of them."""
    into = group.said_into_answers
    resumed = sum(turn.turn.resume_gap_ms is not None for turn in into)
    row = [
        str(len(into)),
        share(len(group.stopped), len(into)),
        share(resumed, len(into)),
        *ranges(group.stop)[:2],
        milliseconds(group.resume_gap),
        str(len(group.ended_by_themselves)),
    ]
    head = ["said into an answer", "stopped for good", "stopped and went on"]
    more = ["gap when it went on, p50", "not counted: over by itself"]
    return table([*head, "stopped after p50, ms", "p95, ms", *more], [row])


def memory_table(result: BenchResult) -> str:
    """The server's resident memory, highest in each scenario."""
    rows = [["ready, no call", f"{result.idle_mib:.0f} MiB"]] if result.idle_mib else []
    rows += [
        [scenario(group), f"{group.peak_mib:.0f} MiB"]
        for group in result.groups
        if group.peak_mib is not None
    ]
    return table(["", "resident"], rows, "first") if rows else ""


def conversation_table(turns: Sequence[BenchTurn]) -> str:
    """What was asked, understood and answered, for a reader to judge."""
    rows = []
    for index, scored in enumerate(turns):
        turn = scored.turn
        heard = scored.answer_heard
        again = f"<small>heard as: {escape(heard)}</small>" if heard is not None else ""
        flags = [f'<b class="bad">cut off {turn.cut_offs} x</b>'] if turn.cut_offs else []
        flags += [f'<b class="bad">{escape(error)}</b>' for error in turn.errors]
        rows.append(
            [
                str(index + 1),
                escape(turn.question or turn.question_id),
                f"{escape(turn.transcript) or NONE}<br>{errors(scored.question_errors)}",
                f"{escape(turn.answer) or NONE} {again}{errors(scored.answer_errors)}",
                (NONE if turn.v2v_ms is None else f"{turn.v2v_ms:.0f}") + " ".join(["", *flags]),
            ]
        )
    return table(["", "asked", "understood", "answered", "ms"], rows, "texts")


def figure(value: float | None) -> str:
    """A measured figure of any kind."""
    if value is None:
        return "not measured"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def scenario(group: Group) -> str:
    """A group's name for a reader."""
    return f"{group.callers} calls at a time" if group.callers > 1 else escape(group.scenario)


def value(summary: Summary, percentile: int) -> str:
    """A percentile, with a sign if the count does not bear it."""
    return f"{summary.at(percentile):.0f}" + ("" if summary.supports(percentile) else FEW)


def ranges(summary: Summary | None) -> list[str]:
    """p50 and p95 with their intervals, and p99."""
    if summary is None:
        return [NONE, NONE, NONE]
    cells = []
    for percentile in (50, 95):
        low, high = (
            "?" if bound is None else f"{bound:.0f}" for bound in summary.interval(percentile)
        )
        cells.append(f"{value(summary, percentile)} <small>{low} to {high}</small>")
    return [*cells, value(summary, 99)]


def percentiles(summary: Summary | None) -> list[str]:
    """Count, p50, p95 and p99."""
    if summary is None:
        return ["0", NONE, NONE, NONE]
    return [str(summary.n), *(value(summary, percentile) for percentile in (50, 95, 99))]


def milliseconds(summary: Summary | None) -> str:
    """A median with its count."""
    return NONE if summary is None else f"{summary.p50:.0f} ms <small>n={summary.n}</small>"


def share(part: int, whole: int) -> str:
    """A share with its count and its 95 % interval."""
    interval = share_interval(part, whole)
    if interval is None:
        return NONE
    low, high = (f"{100 * bound:.0f}" for bound in interval)
    return f"{part} of {whole} <small>{low} to {high} %</small>"


def of(part: int, whole: int) -> str:
    """A count out of a count."""
    return f"{part} of {whole}"


def rate(found: WordErrors | None) -> str:
    """A pooled word error rate with its words."""
    if found is None:
        return NONE
    return f"{100 * found.rate:.1f} % <small>{found.words} words</small>"


def errors(found: WordErrors | None) -> str:
    """One text's word errors, if it has any."""
    if found is None or found.edits == 0:
        return ""
    return f'<small class="bad">{of(found.edits, found.words)} words wrong</small>'
