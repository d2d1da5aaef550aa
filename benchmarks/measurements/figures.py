"""Figures in running text: a page names one between two comments, and its value is put there.

<!-- figure: v2v-p50 -->550 ms<!-- /figure -->
"""

import re
from typing import Any

from benchmarks.measurements.tables import ms, percent

Record = dict[str, Any]
# The reports that running text is about: the last of the default, a call with everything said into
# it, many calls, and the larger brain.
LATEST = "cpu-2core-latest/bench.json"
CALLERS = "cpu-2core-callers/bench.json"
CROWD = "cpu-2core-0.5b/bench.json"
LARGE = "cpu-2core-1.5b/bench.json"
_MARKED = re.compile(r"(<!-- figure: ([a-z0-9.-]+) -->)(.*?)(<!-- /figure -->)", re.DOTALL)


class UnknownFigure(ValueError):
    """A page names a figure that no result gives."""


def figures(results: dict[str, Record]) -> dict[str, str]:
    """All figures that pages may name."""
    return {
        **_conversation(results),
        **_turns(results),
        **_edges(results),
    }


def replace_figures(text: str, values: dict[str, str]) -> str:
    """``text`` with the present values.

    Raises:
        UnknownFigure: it names one that is not in ``values``.
    """

    def value(match: re.Match[str]) -> str:
        if match[2] not in values:
            raise UnknownFigure(f"no result gives the figure {match[2]!r}")
        return f"{match[1]}{values[match[2]]}{match[4]}"

    return _MARKED.sub(value, text)


def _conversation(results: dict[str, Record]) -> dict[str, str]:
    callers = results[CALLERS]["results"][0]
    metrics = callers["metrics"]
    groups = {group["scenario"]: group for group in callers["groups"]}
    latest = results[LATEST]["results"][0]
    now = latest["metrics"]
    spoken = {group["scenario"]: group for group in latest["groups"]}
    small = results[CROWD]["results"][0]
    single = small["groups"][0]
    large = results[LARGE]["results"][0]
    large_single = large["groups"][0]
    crowd = {g["callers"]: g for g in small["groups"] if g["scenario"] == "concurrent"}
    history = {
        result["condition"]: result["groups"][-1]["calls"][0]["turns"][-1]["marks"]
        for result in results[CROWD]["results"]
    }
    last = {name: marks["first_token"] - marks["ear"] for name, marks in history.items()}
    return {
        "v2v-p50": ms(now["v2v_p50_ms"]),
        "v2v-p95": ms(now["v2v_p95_ms"]),
        "v2v-turns": str(spoken["short"]["turns"]),
        "v2v-1.5b-p50": ms(large_single["v2v_ms"]["p50"]),
        "v2v-1.5b-turns": str(large_single["turns"]),
        "v2v-24-p50": ms(single["v2v_ms"]["p50"]),
        "memory": f"{now['resident_mib'] / 1024:.1f} GiB",
        "memory-1.5b": f"{large_single['peak_mib'] / 1024:.1f} GiB",
        "ready": f"{now['ready_s']:.0f} s",
        "stop-p50": ms(now["stop_p50_ms"]),
        "stop-p95": ms(now["stop_p95_ms"]),
        "stop-count": f"{spoken['interruptions']['stopped']} of "
        f"{spoken['interruptions']['said_into_answers']}",
        "backchannel-stopped": f"{groups['backchannels']['stopped']} of "
        f"{groups['backchannels']['said_into_answers']}",
        "backchannel-paused": f"{groups['backchannels']['resume_gap_ms']['n']} of "
        f"{groups['backchannels']['said_into_answers']}",
        "backchannel-gap": ms(metrics["resume_gap_p50_ms"]),
        "phone-added": ms(metrics["phone_added_ms"]),
        "phone-wer": percent(metrics["phone_wer"]),
        "question-wer": percent(metrics["question_wer"]),
        "crowd-4": f"{crowd[4]['v2v_ms']['p50'] / single['v2v_ms']['p50']:.2f} x",
        "crowd-8": f"{crowd[8]['v2v_ms']['p50'] / single['v2v_ms']['p50']:.2f} x",
        "prefill-with": ms(last["default"]),
        "prefill-without": ms(last["without incremental prefill"]),
    }


def _turns(results: dict[str, Record]) -> dict[str, str]:
    policies = results["turn_ends.json"]["policies"]
    default, patient, fixed, words = (
        policies[name] for name in ("default", "low", "fixed 500", "words 300/1000")
    )
    judged = results["interruptions.json"]
    judge = judged["policies"][judged["default"]]
    voice = judged["policies"]["voice 64"]
    line = results["telephone.json"]["summary"]
    return {
        "endpoint-pauses": str(default["pauses"]),
        "endpoint-cut": str(default["cut"]),
        "endpoint-delay": ms(default["delay_mean_ms"]),
        "endpoint-low-cut": str(patient["cut"]),
        "endpoint-low-delay": ms(patient["delay_mean_ms"]),
        "endpoint-words-cut": str(words["cut"]),
        "endpoint-words-delay": ms(words["delay_mean_ms"]),
        "endpoint-500-cut": str(fixed["cut"]),
        "endpoint-500-delay": ms(fixed["delay_mean_ms"]),
        "judge-caught": f"{judge['caught']} of {judge['interruptions']}",
        "judge-p50": ms(judge["delay_p50_ms"]),
        "judge-p95": ms(judge["delay_p95_ms"]),
        "judge-false": f"{judge['false_stops_percent']:.1f} %",
        "judge-events": str(judge["false_events"]),
        "judge-lost": f"{judge['answers_lost_percent']:.1f} %",
        "judge-lost-by-words": f"{judge['answers_lost_by_words_percent']:.1f} %",
        "judge-eager-false": f"{judged['policies']['probe 0.2']['false_stops_percent']:.0f} %",
        "judge-eager-p95": ms(judged["policies"]["probe 0.2"]["delay_p95_ms"]),
        "judge-voice-false": f"{voice['false_stops_percent']:.1f} %",
        "judge-voice-caught": f"{voice['caught']} of {voice['interruptions']}",
        "telephone-clean": percent(line["clean"]["wer"]),
        "telephone-band": percent(line["band"]["wer"]),
        "telephone-line": percent(line["line"]["wer"]),
        "telephone-words": str(line["line"]["words"]),
    }


def _edges(results: dict[str, Record]) -> dict[str, str]:
    page = results["browser.json"]["first_packet_to_first_sound_ms"]
    echo = results["echo_guard.json"]["results"]
    abuse = results["fault_isolation.json"]
    delay = results["delay_curve_cpu.json"]
    cells = {
        cell["model"]: cell["pooled_mean"]
        for cell in results["encoder_error.json"]["cells"]
        if (cell["chunk_ms"], cell["lookahead_ms"]) == (400, 480)
    }
    worst = max(row["p95_against_calm"] for row in abuse["rows"])
    guarded = [result for result in echo if result["guarded"]]
    bare = [result for result in echo if not result["guarded"]]
    return {
        "page-p50": ms(page["p50"]),
        "page-p95": ms(page["p95"]),
        "page-turns": str(page["count"]),
        "echo-guarded-self": _count(guarded, "self_interruptions"),
        "echo-bare-self": _count(bare, "self_interruptions"),
        "echo-guarded-noticed": _noticed(guarded),
        "echo-bare-noticed": _noticed(bare),
        "abuse-worst": f"{100 * (worst - 1):.1f} %",
        "soak-growth": f"{results['soak.json']['grown']['rss_mib']} MiB",
        "soak-calls": str(results["soak.json"]["calls"]),
        "fuzz-inputs": f"{results['fuzz_protocol.json']['inputs']:,}",
        "fuzz-slowest": f"{results['fuzz_protocol.json']['slowest_ms']:.0f} ms",
        "delay-incremental": f"{delay['incremental']['longest_to_shortest']:.2f} x",
        "delay-batch": f"{delay['batch']['longest_to_shortest']:.1f} x",
        "encoder-tiny": f"{cells['whisper-tiny.en']:.2f}",
        "encoder-base": f"{cells['whisper-base']:.2f}",
    }


def _cut(found: Record) -> str:
    return f"{found['pauses_cut_off_percent']:.0f} %"


def _count(results: list[Record], key: str) -> str:
    return f"{sum(result[key] > 0 for result in results)} of {len(results)}"


def _noticed(results: list[Record]) -> str:
    return f"{sum(result['lag_ms'] is not None for result in results)} of {len(results)}"
