"""The report as one HTML file that needs nothing else: no script, no font, no network."""

from collections.abc import Callable, Sequence
from html import escape

from client import svg
from client.bench import plots, tables
from client.bench.plots import Axis, Series, axis_of
from client.bench.result import BenchResult, BenchTurn, Group

BIN_MS = 50.0
MEASURE = (
    "All times are measured from audio at the client: from the caller's last speech sample, "
    "placed when the microphone took it, to the first audible sample of the answer, placed when "
    "it plays. Client and server share the machine. A caller listens to the whole answer before "
    "speaking again."
)


def render(results: Sequence[BenchResult]) -> str:
    """The page for one or several runs; the first is shown in full, all are compared."""
    main = results[0]
    sections = [
        _section(
            "Goals and what was measured",
            f"<p>{MEASURE}</p>" + "".join(_goals(result) for result in results),
        ),
        _section("Runs", tables.conditions(results)) if len(results) > 1 else "",
        *(_delay(result) for result in results if result.group("single")),
        _load(results),
        _pauses(results),
        _barge_in(main),
        _prefill(results),
        _memory(main),
        *(_texts(result) for result in results),
        _made(results),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Latency: {escape(main.condition)}</title><style>{_css()}</style></head>\n"
        f"<body><main>{_header(main)}{''.join(sections)}</main></body></html>\n"
    )


def _header(result: BenchResult) -> str:
    models = " · ".join(f"{name}: {model}" for name, model in result.models.items())
    machine = result.machine
    memory = f", {machine.memory_gib:g} GiB" if machine.memory_gib else ""
    lines = [models, f"{machine.cpu}, {machine.cores} cores{memory}", f"{result.made_at}"]
    told = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    return (
        f"<header><h1>Voice-to-voice latency</h1>{told}</header>"
        f'<ul class="tiles">{"".join(_tiles(result))}</ul>'
    )


def _tiles(result: BenchResult) -> list[str]:
    single = result.group("single")
    delay = single.v2v if single else None
    tiles = []
    if delay is not None and single is not None:
        spread = f"95 % interval {delay.p50_low:.0f} to {delay.p50_high:.0f}"
        tiles.append(_tile("median", f"{delay.p50:.0f} ms", f"{delay.n} turns; {spread}"))
        tiles.append(_tile("95th percentile", f"{delay.p95:.0f} ms", f"worst {delay.high:.0f} ms"))
        share = tables.of(single.cut_offs, len(single.turns))
        tiles.append(_tile("cut-offs", share, "in the same turns"))
    for name, found in (
        ("questions' WER", result.question_errors),
        ("answers' WER", result.answer_errors),
    ):
        if found is not None:
            tiles.append(_tile(name, f"{100 * found.rate:.1f} %", f"{found.words} words"))
    if result.ready_s is not None:
        tiles.append(_tile("ready after", f"{result.ready_s:.1f} s", "from starting the process"))
    if single is not None and single.peak_mib is not None:
        tiles.append(_tile("memory", f"{single.peak_mib:.0f} MiB", "resident, one call, peak"))
    return tiles


def _tile(name: str, value: str, note: str) -> str:
    return f"<li>{escape(name)}<strong>{escape(value)}</strong><small>{escape(note)}</small></li>"


def _goals(result: BenchResult) -> str:
    return f"<h3>{escape(result.condition)}</h3>{tables.goals(result)}"


def _delay(result: BenchResult) -> str:
    single = result.group("single")
    assert single is not None  # the caller asked for it
    delay = single.v2v
    values = [turn.turn.v2v_ms for turn in single.turns if turn.turn.v2v_ms is not None]
    marks = [("p50", delay.p50), ("p95", delay.p95)] if delay else []
    return _section(
        f"One call: {result.condition}",
        "<p>Each row is a turn. The upper bar is the wait for the endpoint; the lower ones are "
        "the work, begun before it at the first short pause. The dot is where the answer is "
        f"heard.</p>{plots.waterfall(single.turns)}"
        f"<h3>Distribution</h3>{plots.histogram(values, marks, BIN_MS)}"
        f"<h3>Stages</h3><p>Milliseconds after the end of speech.</p>{tables.stage_table(single)}",
    )


def _load(results: Sequence[BenchResult]) -> str:
    body = ""
    for result in results:
        many = [group for group in result.groups if group.scenario == "concurrent"]
        if many:
            groups = [*filter(None, [result.group("single")]), *many]
            body += f"<h3>{escape(result.condition)}</h3>{plots.load_curve(groups)}"
            body += tables.load_table(groups)
    note = (
        "<p>Callers start one after another and each listens to the answers to their end. A call "
        "that the server refuses is counted and not retried.</p>"
    )
    return _section("Several calls at a time", note + body) if body else ""


def _pauses(results: Sequence[BenchResult]) -> str:
    with_pauses = [result for result in results if result.group("pauses")]
    if not with_pauses:
        return ""
    body = (
        "<p>How often a caller who stops to think within a sentence is cut off, and the delay "
        f"that is paid for not doing so more often.</p>{tables.cut_off_table(with_pauses)}"
    )
    points = []
    for result in with_pauses:
        group, single = result.group("pauses"), result.group("single")
        assert group is not None  # filtered above
        body += f"<h3>{escape(result.condition)}</h3>{plots.pause_strip(group.turns)}"
        if single is not None and single.v2v is not None and group.turns:
            share = 100 * group.cut_offs / len(group.turns)
            points.append((result.condition, (single.v2v.p50, share)))
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
    return _section("Pauses within an utterance", body)


def _barge_in(result: BenchResult) -> str:
    group = result.group("barge-in")
    if group is None:
        return ""
    return _section(
        "Barge-in",
        "<p>From the onset of the caller's speech to the last audible sample of the answer it "
        f"interrupts, in milliseconds.</p>{tables.barge_in_table(group)}",
    )


def _prefill(results: Sequence[BenchResult]) -> str:
    def delay(turn: BenchTurn) -> float | None:
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
        for what, y_of in (("end of speech to first token", delay), ("ear to first token", brain)):
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
    return _section("Delay against the amount to be prefilled", body) if body else ""


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


def _memory(result: BenchResult) -> str:
    table = tables.memory_table(result)
    return _section("Memory", table) if table else ""


def _texts(result: BenchResult) -> str:
    blocks = []
    for index, group in enumerate(group for group in result.groups if group.turns):
        opened = " open" if index == 0 else ""
        blocks.append(
            f"<details{opened}><summary>{tables.scenario(group)}: {len(group.turns)} turns"
            f"</summary>{tables.conversation_table(group.turns)}</details>"
        )
    return _section(f"What was said: {result.condition}", "".join(blocks)) if blocks else ""


def _made(results: Sequence[BenchResult]) -> str:
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
    return _section(
        "How it was made", note + tables.table(["run", "commit", "system", "command"], rows)
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n"


def _css() -> str:
    return svg.colour_css() + STYLE


STYLE = """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:920px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:24px;margin:0 0 8px}h2{font-size:18px;margin:0 0 12px}
h3{font-size:15px;margin:20px 0 6px}
header p{margin:0;color:var(--soft)}p{margin:6px 0 12px}
section{margin-top:36px;padding-top:20px;border-top:1px solid var(--line)}
small{font-size:12px;color:var(--soft)}.good{color:var(--assistant)}.bad,small.bad{color:var(--bad)}
.tiles{list-style:none;margin:24px 0 0;padding:0;display:grid;gap:10px;
grid-template-columns:repeat(auto-fill,minmax(150px,1fr))}
.tiles li{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 12px;
color:var(--soft);font-size:13px}
.tiles strong{display:block;color:var(--ink);font-size:22px;line-height:1.3}
.scroll{overflow-x:auto;margin:8px 0 16px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);text-align:right;
vertical-align:top;white-space:nowrap}
th{color:var(--soft);font-weight:500;font-size:12px}
.first th:first-child,.first td:first-child,.texts th,.texts td{text-align:left}
.texts td{white-space:normal;min-width:150px}.texts td:first-child{min-width:0}
.texts td:last-child{min-width:60px}.texts small{display:block}
td i,.key i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px}
.key{list-style:none;margin:0 0 8px;padding:0;display:flex;flex-wrap:wrap;gap:2px 14px;
font-size:12px;color:var(--soft)}
.plot{padding:4px 14px 0 38px}.plot svg{display:block;overflow:visible}
.plot text{font-size:11px;fill:var(--soft)}
.axis{margin:4px 0 16px;text-align:center;font-size:12px;color:var(--soft)}
.grid{stroke:var(--line)}.mark{stroke:var(--ink);stroke-dasharray:3 3}
.join{stroke-width:2}.half{opacity:.45}.faint{opacity:.35}
.shift-left{transform:translateX(-8px)}.nudge-left{transform:translateX(-5px)}
.nudge-right{transform:translateX(5px)}
.none{color:var(--soft)}code{font-size:12px;white-space:normal;word-break:break-word}
details{margin:8px 0}summary{cursor:pointer;padding:4px 0}
"""
