"""The report as one HTML file that needs nothing else, in the looks of the bench's."""

from collections.abc import Sequence
from html import escape

from client.bench import tables
from client.bench.page import document, tile
from client.bench.plots import Axis, figure
from client.bench.sections import section
from client.drawing import svg
from client.evaluation.items import Record
from client.evaluation.results import Comparison, Figures, Result, Run
from client.evaluation.score import Score

NONE = tables.NONE
ROW = 24.0
HEAD = (
    *("condition", "right", "accuracy", "95 % interval", "chance", "invalid", "cut", "errors"),
    "p50, s",
)
SHOWN = 200  # answers of a condition on the page; the JSON has all


def render(result: Result) -> str:
    """The page of one run."""
    about = result.about
    body = [
        section("Result", _overview(result)),
        section("By category", _categories(result)),
        section("The same questions, asked in two ways", comparison_table(result.comparisons)),
        section("Published figures", _published(result)),
        section("Answers", _answers(result)),
        section("How it was made", _made([result])),
    ]
    header = (
        f"<header><h1>{escape(about.title)}</h1><p>{escape(result.run.target)}</p>"
        f"<p>{escape(_models(result.run))}</p><p>{escape(result.run.made_at)}</p></header>"
        f'<ul class="tiles">{"".join(_tiles(result))}</ul>'
    )
    return document(f"Accuracy: {about.name}", header + "".join(body))


def render_comparison(first: Result, second: Result, found: Sequence[Comparison]) -> str:
    """The page of two runs of one set."""
    names = f"{_named(first.run)} against {_named(second.run)}"
    header = f"<header><h1>{escape(first.about.title)}</h1><p>{escape(names)}</p></header>"
    body = section("Question by question", comparison_table(found))
    return document(f"Accuracy: {names}", header + body + section("Runs", _made([first, second])))


def _tiles(result: Result) -> list[str]:
    tiles = []
    for condition in result.conditions:
        part = result.figures(condition)
        if part.accuracy is None:
            tiles.append(tile(condition, "not scored", f"{part.n} answers"))
        else:
            tiles.append(tile(condition, percent(part.accuracy), spread(part)))
    return tiles


def _overview(result: Result) -> str:
    rows = [_row(condition, result.figures(condition)) for condition in result.conditions]
    body = f"<p>{escape(result.about.rule)}</p>"
    body += "".join(f'<p class="bad">{escape(note)}</p>' for note in result.run.notes)
    body += tables.table(HEAD, rows, "first")
    measures = [
        [escape(condition), escape(name), f"{value:.3f}"]
        for condition in result.conditions
        for name, value in result.figures(condition).measures.items()
    ]
    if measures:
        body += tables.table(["condition", "figure", "mean"], measures, "first two")
    if result.checks:
        body += tables.checks(result.checks, {})
    return body


def _row(name: str, part: Figures) -> list[str]:
    return [
        escape(name),
        f"{part.right:g} of {part.scored}" if part.scored else f"{part.n} not scored",
        percent(part.accuracy),
        spread(part),
        percent(part.chance),
        str(part.invalid),
        str(part.cut),
        str(part.errors),
        NONE if part.latency_ms is None else f"{part.latency_ms / 1000:.1f}",
    ]


def _categories(result: Result) -> str:
    if len(result.categories) < 2:
        return ""
    body = _bars(result)
    for condition in result.conditions:
        rows = [
            _row(category, result.figures(condition, category)) for category in result.categories
        ]
        table = tables.table(["category", *HEAD[1:]], rows, "first")
        body += f"<h3>{escape(condition)}</h3>{table}"
    return body


def _bars(result: Result) -> str:
    """For each category and condition, the accuracy as a dot on its interval."""
    axis, drawn, row = Axis(0.0, 1.0, ""), [], 0
    conditions = result.conditions
    height = ROW * (len(conditions) + 1) * len(result.categories)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawn.append(svg.line(axis.x(share), 0, axis.x(share), height, "grid"))
        drawn.append(svg.text(axis.x(share), height + 15, f"{100 * share:.0f} %", "", "middle"))
    for category in result.categories:
        drawn.append(svg.text("0", ROW * row + 16, category))
        row += 1
        for index, condition in enumerate(conditions):
            part, y = result.figures(condition, category), ROW * row + ROW / 2
            row += 1
            if part.accuracy is None or part.interval is None:
                continue
            low, high = part.interval
            css = svg.SERIES[index % len(svg.SERIES)]
            tip = f"{category}, {condition}: {percent(part.accuracy)} ({spread(part)})"
            drawn.append(svg.line(axis.x(low), y, axis.x(high), y, f"join l-{css}"))
            x = svg.percent(max(0.0, part.accuracy - 0.004))
            drawn.append(svg.rect(x, y - 5, "0.8%", 10, f"f-{css}", tip))
    key = "".join(
        f'<li><i style="background:var(--{svg.SERIES[i % len(svg.SERIES)]})"></i>{escape(c)}</li>'
        for i, c in enumerate(conditions)
    )
    return f'<ul class="key">{key}</ul>' + figure(drawn, height, "accuracy and 95 % interval")


def comparison_table(found: Sequence[Comparison]) -> str:
    """Pairs of scores, what differs, and how sure that is."""
    rows = []
    for one in found:
        pair, ways = one.paired, f"{one.first} → {one.second}"
        rows.append(
            [
                escape(ways if one.first != one.second else one.first),
                escape(one.category or "all"),
                str(pair.n),
                percent(pair.first),
                percent(pair.second),
                f"{100 * pair.difference:+.1f}",
                f"{100 * pair.low:+.1f} to {100 * pair.high:+.1f}",
                f"{pair.only_first} / {pair.only_second}",
                NONE if pair.p is None else f"{pair.p:.3f}",
            ]
        )
    if not rows:
        return ""
    head = ["", "category", "n", "first", "second", "points", "95 % interval", "only one right"]
    note = (
        "<p class=note>Points: second less first. Only one right: questions that only the first or "
        "only the second has right; p is McNemar's exact test of those, not corrected for the "
        "number of rows.</p>"
    )
    return tables.table([*head, "p"], rows, "first two") + note


def _published(result: Result) -> str:
    if not result.about.published:
        return ""
    rows = [
        [escape(one.who), escape(one.figure), escape(one.source)] for one in result.about.published
    ]
    note = (
        "<p>As their authors give them, of other harnesses, prompts and versions of the set: a few "
        "points between two harnesses are usual.</p>"
    )
    return note + tables.table(["model", "figure", "source"], rows, "left")


def _answers(result: Result) -> str:
    blocks = []
    for condition in result.conditions:
        part = result.part(condition)
        rows = [_answer(record, score) for record, score in part[:SHOWN]]
        head = ["question", "asked", "answered", "right answer", "score"]
        shown = f"{len(part)}" if len(part) <= SHOWN else f"{SHOWN} of {len(part)}"
        blocks.append(
            f"<details><summary>{escape(condition)}: {shown}</summary>"
            f"{tables.table(head, rows, 'texts')}</details>"
        )
    return "".join(blocks)


def _answer(record: Record, score: Score) -> list[str]:
    heard = f"<small>heard: {escape(record.heard)}</small>" if record.heard else ""
    thought = f"<small>thought: {escape(record.thought)}</small>" if record.thought else ""
    picked = f"<small>taken as: {escape(score.picked)}</small>" if score.picked else ""
    error = f'<small class="bad">{escape(record.error)}</small>' if record.error else ""
    value = NONE if score.value is None else f"{score.value:g}"
    gold = record.gold.get("answer", record.gold.get("answers", ""))
    return [
        escape(record.id),
        "<br>".join(map(escape, record.prompt)) + heard,
        escape(record.scored_text) + thought + picked + error,
        escape(", ".join(map(str, gold)) if isinstance(gold, list) else str(gold)),
        value + (" <small>invalid</small>" if score.is_invalid else ""),
    ]


def _made(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        run, about = result.run, result.about
        rows.append(
            [
                escape(_named(run)),
                escape(run.commit or "unknown"),
                escape(f"{run.machine.cpu}, {run.machine.cores} cores; {run.machine.python}"),
                escape(f"{about.origin}; licence: {about.licence}"),
                escape(run.judge or "none"),
                f"<code>{escape(run.command)}</code>",
            ]
        )
    head = ["run", "commit", "machine", "data", "judge", "command"]
    return tables.table(head, rows, "left")


def _named(run: Run) -> str:
    return _models(run) or run.target


def _models(run: Run) -> str:
    return " · ".join(f"{name}: {model}" for name, model in run.models.items())


def percent(value: float | None) -> str:
    """A share, in percent."""
    return NONE if value is None else f"{100 * value:.1f} %"


def spread(part: Figures) -> str:
    """Its interval."""
    if part.interval is None:
        return NONE
    low, high = part.interval
    return f"{100 * low:.1f} to {100 * high:.1f}"
