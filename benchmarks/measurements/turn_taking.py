"""Pages of what decides about turns: endpointing, interruptions, the telephone, the echo guard."""

import statistics
from itertools import product
from typing import Any

from benchmarks.measurements.tables import NOT_MEASURED, ms, percent, share, source, table

Record = dict[str, Any]
PAUSES = {
    "written": "at places of commas",
    "random": "at random places",
    "stretched": "at random places, speech slowed or hurried",
    "recordings": "in recordings of a reader",
}
SOUNDS = {
    "backchannel": '"mm-hm", "yeah", "I see"',
    "laughter": "laughter",
    "cough": "coughs",
    "keyboard": "keyboards",
    "far-away": "people far away",
    "echo": "the answer's own echo",
}
LINES = {
    "clean": "24 kHz",
    "band": "the telephone's band and codec",
    "line": "with lost and late packets and noise",
}


def endpointing(record: Record) -> list[str]:
    """How often a policy cuts callers off, always with its delay."""
    head = ["policy"]
    first = next(iter(record["policies"].values()))
    head += [f"{PAUSES[kind]} ({first[kind]['inner_pauses']})" for kind in first]
    rows = []
    for name, kinds in record["policies"].items():
        cells = [f"**{name}** (default)" if name == record["default"] else name]
        for found in kinds.values():
            cut = f"{found['pauses_cut_off_percent']:.1f} %"
            cells.append(f"{cut} at {found['delay_mean_ms']} / {found['delay_p90_ms']} ms")
        rows.append(cells)
    return [
        "# Endpointing",
        "",
        "Share of the pauses inside a turn at which the caller is cut off, and the delay from the "
        "end of speech to the endpoint (mean / p90). The pauses last 150 to 900 ms. `words A/B` "
        "waits A ms after words that sound finished and B ms after others; `sound` is Smart Turn, "
        "a network that listens. The decision is in [record 2](../decisions/"
        "0002-endpointing-by-words.md).",
        *source("endpointing.json", record, study="endpointing"),
        *table(head, rows),
        "",
        "![Cut-offs against delay, a point for each policy]"
        "(../../benchmarks/results/endpointing.svg)",
    ]


def interruptions(record: Record) -> list[str]:
    """How late interruptions are obeyed, and how often other sounds stop an answer."""
    default = record["policies"][record["default"]]
    rows = [
        [
            "interruptions",
            str(default["interruptions"]),
            str(default["caught"]),
            f"{default['wrongly_resumed']} resumed although they should not",
        ],
        [
            'as short as a backchannel ("Pause.", "Not now.")',
            str(default["short"]["interruptions"]),
            str(default["short"]["caught"]),
            f"{default['short']['wrongly_resumed']} resumed although they should not",
        ],
    ]
    for kind, found in default["false"].items():
        rows.append(
            [
                SOUNDS[kind],
                str(found["events"]),
                str(found["stops"]),
                f"{found['answers_lost']} did not resume",
            ]
        )
    low, high = default["false_stops_interval"]
    lost_low, lost_high = default["answers_lost_interval"]
    return [
        "# Interruptions",
        "",
        "What is said or sounds over an answer, and whether it stops the answer. Offline, in the "
        "server's own code, without transport. Most voices are synthetic; laughs, half of the "
        "coughs and the keyboards are recordings. The policy is described in "
        "[Interruptions](../interruptions.md).",
        *source("interruptions.json", record, study="interruptions --sounds DIR"),
        *table(["over an answer", "events", "stopped it", "afterwards"], rows),
        "",
        f"- Interruptions are recognised {default['delay_p50_ms']} ms after their first sound "
        f"(p50), {default['delay_p90_ms']} ms (p90), {default['delay_p95_ms']} ms (p95). The goal "
        f"is 300 ms (p95); {default['within_300_ms_percent']:.1f} % are within it.",
        f"- {default['false_stops_percent']:.1f} % ({low} to {high}) of the "
        f"{default['false_events']} other sounds stop the answer for a moment. The goal is 3 %. "
        f"The gap is {default['gap_p50_ms']} ms long (p50).",
        f"- {default['answers_lost_percent']:.1f} % ({lost_low} to {lost_high}) stop it for good. "
        f"By the words alone it would be {default['answers_lost_by_words_percent']:.1f} %.",
        "",
        "Every policy that was tried: `voice N` needs N ms of speech; `gates N` also needs it near "
        "and no echo; `probe P` asks the networks, with threshold P; `early N` is the default with "
        "N ms of a stricter threshold.",
        "",
        *_policies(record),
        "",
        "![How late interruptions are obeyed against how often other sounds stop an answer]"
        "(../../benchmarks/results/interruptions.svg)",
    ]


def _policies(record: Record) -> list[str]:
    rows = []
    for name, found in record["policies"].items():
        rows.append(
            [
                f"**{name}** (default)" if name == record["default"] else name,
                share(found["caught"], found["interruptions"]),
                f"{found['delay_p50_ms']} / {found['delay_p95_ms']} ms",
                f"{found['false_stops_percent']:.1f} %",
                f"{found['answers_lost_percent']:.1f} %",
            ]
        )
    head = ["policy", "caught", "delay p50 / p95", "stopped falsely", "answers lost"]
    return table(head, rows)


def telephone(record: Record) -> list[str]:
    """What a telephone line costs the ear and the speech detector."""
    rows = []
    for name, found in record["summary"].items():
        low, high = found["wer_interval"]
        ratio = NOT_MEASURED
        if name != "clean":
            ratio_low, ratio_high = found["ratio_interval"]
            ratio = f"{found['ratio_to_clean']:.1f} x ({ratio_low:.1f} to {ratio_high:.1f})"
        rows.append(
            [
                f"{name}: {LINES[name]}",
                str(found["words"]),
                f"{percent(found['wer'])} ({percent(low)} to {percent(high)})",
                ratio,
                str(found["split"]),
                f"{ms(found['pause_mean_ms'])}",
            ]
        )
    head = ["sound", "words", "misheard", "over clean", "turns ended early", "pause seen, mean"]
    return [
        "# Telephone",
        "",
        "What a line does to the ear and the speech detector, offline. The same questions over the "
        "wire, with their delay, are in [Conversation](conversation.md) (`phone`). The last column "
        "is the time from the last loud sample to the detected pause, without the line's delay.",
        *source("telephone.json", record, study="telephone"),
        *table(head, rows),
    ]


def echo_guard(record: Record) -> list[str]:
    """How much of the loudspeaker `duplex talk` takes out of the microphone."""
    rows = []
    gains = sorted({result["gain_db"] for result in record["results"]})
    for guarded, gain_db in product((True, False), gains):
        found = [
            result
            for result in record["results"]
            if result["guarded"] == guarded and result["gain_db"] == gain_db
        ]
        lags = [result["lag_ms"] for result in found if result["lag_ms"] is not None]
        rows.append(
            [
                "on" if guarded else "off",
                f"{gain_db} dB",
                share(sum(result["self_interruptions"] > 0 for result in found), len(found)),
                share(len(lags), len(found)),
                ms(statistics.median(lags)) if lags else NOT_MEASURED,
            ]
        )
    head = [
        "guard",
        "echo",
        "answers that stopped themselves",
        "interruptions noticed",
        "after, p50",
    ]
    return [
        "# Echo guard",
        "",
        "`duplex talk` in simulated rooms: an answer from the loudspeaker reaches the microphone, "
        "and a caller interrupts it. The guard is WebRTC's AEC3, from the package livekit "
        f"{record['livekit']}.",
        *source("echo_guard.json", record, study="echo_guard"),
        *table(head, rows),
    ]
