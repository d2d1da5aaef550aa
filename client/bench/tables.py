"""The report's tables."""

from collections.abc import Sequence
from html import escape

from client.bench.result import BenchResult, BenchTurn, Group, WordErrors, outcomes
from client.bench.stats import Summary, summarise
from client.stages import LABELS, stages

NONE = "–"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], css: str = "") -> str:
    """A table that scrolls sideways in itself. Cells are HTML: escape texts before."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{css}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def goals(result: BenchResult) -> str:
    """Goals beside what was measured, met or not."""
    words = {True: '<b class="good">met</b>', False: '<b class="bad">missed</b>', None: NONE}
    rows = [
        [escape(o.name), escape(o.measured), words[o.met], escape(o.goal), escape(o.count)]
        for o in outcomes(result)
    ]
    return table(["goal", "measured", "", "aim", "from"], rows, "first")


def conditions(results: Sequence[BenchResult]) -> str:
    """One line a run."""
    rows = []
    for result in results:
        single = result.group("single")
        delays = single.v2v if single else None
        rows.append(
            [
                escape(result.condition),
                escape(", ".join(result.models.values())) or NONE,
                *percentiles(delays),
                of(single.cut_offs, len(single.turns)) if single else NONE,
                milliseconds(single.mark("first_token") if single else None),
                rate(result.question_errors),
                rate(result.answer_errors),
            ]
        )
    head = ["run", "models", "turns", "p50", "p95", "p99", "cut-offs", "first token p50"]
    return table([*head, "question WER", "answer WER"], rows, "first")


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
        group, single = result.group("pauses"), result.group("single")
        if group is None:
            continue
        endpoint = single.mark("endpoint") if single else None
        rows.append(
            [
                escape(result.condition),
                of(group.cut_offs, len(group.turns)),
                of(single.cut_offs, len(single.turns)) if single else NONE,
                milliseconds(endpoint),
                milliseconds(single.v2v if single else None),
            ]
        )
    head = ["run", "cut off, inner pause", "cut off, ordinary", "endpoint p50"]
    return table([*head, "voice-to-voice p50"], rows, "first")


def barge_in_table(group: Group) -> str:
    """From the caller's onset to the last audible sample of the answer."""
    tried = [turn for turn in group.turns if turn.turn.interrupts]
    delays = summarise(turn.turn.barge_in_ms for turn in tried if turn.turn.interrupted)
    stopped = sum(turn.turn.interrupted for turn in tried)
    row = [of(stopped, len(tried)), *percentiles(delays)]
    return table(["answers stopped", "n", "p50", "p95", "p99"], [row])


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
                escape(turn.question),
                f"{escape(turn.transcript) or NONE}<br>{errors(scored.question_errors)}",
                f"{escape(turn.answer) or NONE} {again}{errors(scored.answer_errors)}",
                (NONE if turn.v2v_ms is None else f"{turn.v2v_ms:.0f}") + " ".join(["", *flags]),
            ]
        )
    return table(["", "asked", "understood", "answered", "ms"], rows, "texts")


def scenario(group: Group) -> str:
    """A group's name for a reader."""
    return f"{group.callers} calls at a time" if group.callers > 1 else escape(group.scenario)


def percentiles(summary: Summary | None) -> list[str]:
    """Count, p50, p95 and p99."""
    if summary is None:
        return ["0", NONE, NONE, NONE]
    return [str(summary.n), *(f"{value:.0f}" for value in (summary.p50, summary.p95, summary.p99))]


def milliseconds(summary: Summary | None) -> str:
    """A median with its count."""
    return NONE if summary is None else f"{summary.p50:.0f} ms <small>n={summary.n}</small>"


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
