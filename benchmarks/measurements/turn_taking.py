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


def endpointing(people: Record, made: Record) -> list[str]:
    """How often a policy cuts callers off, always with its delay: of ``people``, and of ``made``
    speech."""
    default = people["policies"]["default"]
    kinds = [kind for kind, row in default["kinds"].items() if row["pauses"] > 1]
    head = ["policy", f"all ({default['pauses']})"]
    head += [f"{kind} ({default['kinds'][kind]['pauses']})" for kind in kinds]
    rows = [
        [name, *(_cut_at(row) for row in (found, *(found["kinds"][kind] for kind in kinds)))]
        for name, found in people["policies"].items()
    ]
    sets = list(made["policies"]["default"])
    made_head = ["policy"]
    made_head += [
        f"{PAUSES[kind]} ({made['policies']['default'][kind]['inner_pauses']})" for kind in sets
    ]
    made_rows = [
        [
            name,
            *(
                f"{row['pauses_cut_off_percent']:.1f} % at {row['delay_mean_ms']} ms"
                for row in found.values()
            ),
        ]
        for name, found in made["policies"].items()
    ]
    ends = [
        [kind, str(row["turns"]), str(row["cut_once"]), f"{row['delay_p50_ms']} ms"]
        for kind, row in default["kinds"].items()
    ]
    noise, dictated = people["noise"], people["dictations"]
    words = people["word_errors"]["whisper-tiny.en"]
    return [
        "# Endpointing",
        "",
        "Pauses of 150 ms or more inside a turn at which the caller is cut off, and the mean delay "
        "from the end of speech to the endpoint, in recordings of people. `words A/B` waits A ms "
        "after words that sound finished and B ms after others; `smart turn` asks the network "
        "alone; `default` asks both, and `low` and `high` are eagerness. The decision is in "
        "[record 80](../decisions/0080-turn-ends-on-recordings.md) and "
        "[134](../decisions/0134-who-asks-is-answered-who-tells-may-go-on.md).",
        *source("turn_ends.json", people),
        "Reproduce with `python -m benchmarks.turn_taking --data DIR --json FILE`.",
        "",
        *table(head, rows),
        "",
        "![Cut-offs against delay, a point a policy](../../benchmarks/results/turn_ends.svg)",
        "",
        "The default, by kind of speech:",
        "",
        *table(["kind", "turns", "cut off at least once", "delay p50"], ends),
        "",
        f"Of {noise['clips']} clips of noise {noise['begin_a_turn']} begin a turn, and in "
        f"{noise['invent_words']} the ear invents words. Of {dictated['of']} dictations in groups "
        f"{dictated['cut']} are cut off. Word errors of Whisper tiny.en: "
        + ", ".join(f"{percent(w['rate'])} of {w['words']} words ({by})" for by, w in words.items())
        + ".",
        "",
        "## In synthesised speech",
        "",
        "Pauses of 150 to 900 ms that were put into the packaged voice, and a reader's. It "
        "flatters the words: its voice pauses where a person would not.",
        *source("endpointing.json", made, study="endpointing"),
        *table(made_head, made_rows),
    ]


def _cut_at(row: Record) -> str:
    return f"{row['cut']} at {row['delay_mean_ms']} ms"


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
