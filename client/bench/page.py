"""The report as one HTML file that needs nothing else: no script, no font, no network.

Its figures are written by hand (`client.bench.plots`, `client.drawing.svg`), because a plotting
library would bring a script, or text that does not fit a phone.
"""

from html import escape

from client.bench import sections, tables
from client.bench.result import BenchResult, Report
from client.drawing import svg


def render(report: Report) -> str:
    """The page. The first result is shown in full, a second server's beside it."""
    main = report.results[0]
    compared = report.results[:2] if report.compared else report.results[:1]
    body = [
        sections.measured(report),
        sections.comparison(report),
        *(sections.overview(result) for result in compared),
        *(sections.delay(result) for result in compared),
        *(sections.into_answers(result) for result in compared),
        *(sections.phone(result) for result in compared),
        sections.pauses(compared),
        sections.load(compared),
        sections.prefill(report.results),
        *(sections.timelines(result) for result in compared),
        sections.memory(main),
        *(sections.texts(result) for result in report.results),
        sections.made(report.results),
    ]
    title = " against ".join(result.condition for result in compared)
    return document(f"Latency: {title}", _header(report) + "".join(body))


def document(title: str, body: str) -> str:
    """A whole page of the reports' looks around ``body``, which is HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{svg.colour_css()}{STYLE}</style></head>\n"
        f"<body><main>{body}</main></body></html>\n"
    )


def _header(report: Report) -> str:
    result = report.results[0]
    models = result.models or {"model": str(result.session.get("model", "not told"))}
    machine = result.machine
    memory = f", {machine.memory_gib:g} GiB" if machine.memory_gib else ""
    lines = [
        " · ".join(f"{name}: {model}" for name, model in models.items()),
        f"measured on {machine.cpu}, {machine.cores} cores{memory}",
        result.made_at,
    ]
    told = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    return (
        f"<header><h1>Voice-to-voice latency</h1>{told}</header>"
        f'<ul class="tiles">{"".join(_tiles(report))}</ul>'
    )


def _tiles(report: Report) -> list[str]:
    result = report.results[0]
    short, stops, back = (result.group(name) for name in ("short", "interruptions", "backchannels"))
    tiles = []
    if short is not None and (delay := short.v2v) is not None:
        spread = f"95 % interval {delay.p50_low:.0f} to {delay.p50_high:.0f}"
        tiles.append(tile("median", f"{delay.p50:.0f} ms", f"{delay.n} turns; {spread}"))
        worst = f"worst {delay.high:.0f} ms"
        tiles.append(tile("95th percentile", f"{tables.value(delay, 95)} ms", worst))
        share = tables.of(short.cut_offs, len(short.turns))
        tiles.append(tile("cut-offs", share, "in the same turns"))
    if stops is not None and (stop := stops.stop) is not None:
        note = f"median of {stop.n} interruptions"
        tiles.append(tile("stops after", f"{stop.p50:.0f} ms", note))
    if back is not None and back.said_into_answers:
        share = tables.of(len(back.stopped), len(back.said_into_answers))
        tiles.append(tile("false stops", share, "answers that a backchannel ended"))
    questions = short.question_errors if short else None
    for name, found in (("questions' WER", questions), ("answers' WER", result.answer_errors)):
        if found is not None:
            tiles.append(tile(name, f"{100 * found.rate:.1f} %", f"{found.words} words"))
    if report.measuring is not None:
        error = report.measuring.v2v
        spread = f"{error.low:+.1f} to {error.high:+.1f} in {error.n} clicks"
        tiles.append(tile("measuring error", f"{error.p50:+.1f} ms", spread))
    tiles += _own(result)
    return tiles


def _own(result: BenchResult) -> list[str]:
    """What is known of a server that the bench started."""
    tiles, short = [], result.group("short")
    if result.ready_s is not None:
        tiles.append(tile("ready after", f"{result.ready_s:.1f} s", "from starting the process"))
    if short is not None and short.peak_mib is not None:
        tiles.append(tile("memory", f"{short.peak_mib:.0f} MiB", "resident, one call, peak"))
    return tiles


def tile(name: str, value: str, note: str) -> str:
    """A figure that is seen first, for a list of the class ``tiles``."""
    return f"<li>{escape(name)}<strong>{escape(value)}</strong><small>{escape(note)}</small></li>"


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
.gap{fill:var(--stage-released);opacity:.28}.f-caller{fill:var(--caller)}
.note{font-size:12px;color:var(--soft)}.two td:nth-child(2),.two th:nth-child(2){text-align:left}
.left td,.left th{text-align:left}
.none{color:var(--soft)}code{font-size:12px;white-space:normal;word-break:break-word}
details{margin:8px 0}summary{cursor:pointer;padding:4px 0}
"""
