"""Pages of the server under abuse, the browser page and the native engine."""

from typing import Any

from benchmarks.measurements.tables import ms, pair_ms, source, table

Record = dict[str, Any]
ATTACKS = {
    "tiny frames": "sends tiny frames without end",
    "unread pongs": "sends pings and reads no pong",
    "giant messages": "sends giant messages",
    "JSON dear to decode": "sends JSON that is expensive to decode",
    "JSON expensive to decode": "sends JSON that is expensive to decode",
    "endless fragments": "sends fragments of a message that never ends",
    "slow reader": "asks for answers and reads nothing",
    "audio faster than real time": "sends audio faster than real time",
    "slowloris": "opens handshakes that never end",
    "vanishing calls": "opens calls and vanishes",
}


def server(abuse: Record, soak: Record, fuzz: Record) -> list[str]:
    """Faults stay with who makes them; memory goes back; broken messages become errors."""
    rows = []
    for row in abuse["rows"]:
        memory = [f"{row[when]['rss_mib']:.0f}" for when in ("before", "during", "after")]
        rows.append(
            [
                "nothing" if row["attack"] is None else ATTACKS[row["attack"]],
                str(row["turns"]),
                pair_ms(row["p50_ms"], row["p95_ms"]),
                f"{row['p95_against_calm']:.3f} x",
                ", ".join(memory) + " MiB",
            ]
        )
    head = ["the fifth client", "turns", "voice-to-voice", "p95 over calm", "before, during, after"]
    first, last, grown = soak["seen"][0], soak["seen"][-1], soak["grown"]
    outcomes = sum(fuzz["outcomes"].values())
    return [
        "# Server",
        "",
        "## A client that misbehaves",
        "",
        f"{abuse['calls']} calls while a fifth client, with a key of its own, does harm: "
        "voice-to-voice of the four (p50 / p95), then the server's resident memory. One process; "
        f"models: {abuse['models']}. The goal is a p95 within 10 % and memory back where it was. ",
        *source("fault_isolation.json", abuse, study="fault_isolation"),
        *table(head, rows),
        "",
        "## Many short calls",
        "",
        f"{soak['calls']} short calls in {soak['seconds']:.0f} s, after a warm-up. A tenth of them "
        f"vanished and a tenth resumed; models: {soak['models']}.",
        *source("soak.json", soak, study="soak"),
        *table(
            ["", "memory", "file descriptors", "threads", "tasks"],
            [
                ["before", *_held(first)],
                ["after", *_held(last)],
                [
                    "growth",
                    f"{grown['rss_mib']} MiB",
                    *(str(grown[key]) for key in ("fds", "threads", "tasks")),
                ],
            ],
        ),
        "",
        "## Broken messages",
        "",
        f"{fuzz['inputs']:,} messages, broken in every way that a generator finds (seed "
        f"{fuzz['seed']}): {fuzz['outcomes']['obeyed']:,} were valid and obeyed, "
        f"{outcomes - fuzz['outcomes']['obeyed']:,} got a protocol error, and nothing else "
        f"happened. The slowest took {fuzz['slowest_ms']} ms.",
        *source("fuzz_protocol.json", fuzz, study="fuzz_protocol"),
    ]


def _held(seen: Record) -> list[str]:
    counts = (str(seen[key]) for key in ("fds", "threads", "tasks"))
    return [f"{seen['rss_mib']} MiB", *counts]


def browser(record: Record) -> list[str]:
    """The page in a real browser."""
    names = {
        "first_packet_to_first_sound_ms": "first packet to first sound",
        "first_packet_to_first_sample_ms": "first packet to first sample",
        "voice_to_voice_ms": "voice-to-voice, from the sound",
        "voice_to_voice_as_the_page_says_ms": "voice-to-voice, as the page shows it",
        "interruption_to_silence_ms": "interruption to silence",
    }
    rows = [
        [name, str(record[key]["count"]), pair_ms(record[key]["p50"], record[key]["p95"])]
        for key, name in names.items()
    ]
    return [
        "# Browser",
        "",
        f"The server's page in Chromium {record['chromium']}, with "
        f"{record['output_latency_ms']:.0f} ms of output latency included, against a server on the "
        f"same machine. The goal for the first sound is 100 ms. Gaps in playback: "
        f"{record['underruns']}.",
        *source("browser.json", record, study="browser"),
        *table(["", "turns", "p50 / p95"], rows),
        "",
        "A p95 of fewer than 20 values is close to the largest of them.",
    ]


def native(delay: Record, error: Record, compiled: Record | None) -> list[str]:
    """Delay against the length of a turn, the error of incremental encoding, and the kernels."""
    circumstances = delay["circumstances"]
    commit = circumstances["commit"] + ("+" if circumstances["changed"] else "")
    about = {"commit": commit, "made_at": circumstances["started"]}
    head = ["turn", *(f"{seconds} s" for seconds in delay["turns_s"]), "longest over shortest"]
    rows = []
    for kind, name in (
        ("incremental", "incremental"),
        ("batch", "exact pass and prefill at the end"),
    ):
        tokens = delay[kind]["first_token_ms"]
        ratio = f"{delay[kind]['longest_to_shortest']:.2f} x"
        rows.append([name, *(ms(summary["p50"]) for summary in tokens), ratio])
    return [
        "# Native engine",
        "",
        "## Delay against the length of a turn",
        "",
        f"End of the turn to the first token, p50 of {delay['repetitions']}, on the "
        f"{circumstances['device']} with {circumstances['threads']} threads and a random "
        f"model of {delay['parameters'] / 1e6:.0f} million parameters.",
        *source(
            "delay_curve_cpu.json",
            about,
            study="delay_curve",
            machine=f"{circumstances['device']}, not named further",
        ),
        *table(head, rows),
        "",
        "![Delay after the end of a turn against its length]"
        "(../../benchmarks/results/delay_curve_cpu.svg)",
        "",
        "## Error of incremental encoding",
        "",
        f"Real Whisper encoders in the native engine's code, {len(error['utterances_s'])} "
        f"utterances of {min(error['utterances_s']):.1f} to {max(error['utterances_s']):.1f} s: "
        "mean relative error of the pooled frames against the exact pass, by chunk and look-ahead.",
        *source("encoder_error.json", error, study="encoder_error"),
        *_errors(error),
        "",
        "The error does not grow with the turn. By utterance, at the default 400 + 480 ms:",
        "",
        *_by_utterance(error),
        "",
        "![Error against look-ahead](../../benchmarks/results/encoder_error.svg)",
        *(_kernels(compiled) if compiled is not None else []),
    ]


def _kernels(compiled: Record) -> list[str]:
    """What the compiler made of every kernel variant that a server runs."""
    rows = [
        [
            server,
            str(len(variants)),
            str(max(variant["registers"] for variant in variants)),
            str(sum(variant["stack_bytes"] > 0 for variant in variants)),
            f"{max(variant['shared_bytes'] for variant in variants) / 1024:.0f} KiB",
        ]
        for server, variants in compiled["servers"].items()
    ]
    head = [
        "part of a server",
        "variants",
        "registers, most",
        "variants that spill",
        "shared memory, most",
    ]
    return [
        "",
        "## Kernels, compiled",
        "",
        f"Every kernel variant of a server, compiled for {compiled['target']} by Triton "
        f"{compiled['triton']}, without a GPU. Nothing of it was timed.",
        *source("compiled_sm90.json", compiled, study="compiled", machine="none needed"),
        *table(head, rows),
    ]


def _errors(error: Record) -> list[str]:
    cells = {(c["model"], c["chunk_ms"], c["lookahead_ms"]): c for c in error["cells"]}
    lookaheads = sorted({lookahead for _, _, lookahead in cells})
    rows = []
    for model, chunk in dict.fromkeys((model, chunk) for model, chunk, _ in cells):
        values = (
            f"{cells[model, chunk, lookahead]['pooled_mean']:.3f}" for lookahead in lookaheads
        )
        rows.append([f"{model}, {chunk} ms", *values])
    return table(["chunk \\ look-ahead", *(f"{value} ms" for value in lookaheads)], rows)


def _by_utterance(error: Record) -> list[str]:
    rows = []
    for model, kinds in error["pooled_mean_by_utterance"].items():
        for kind, values in kinds.items():
            rows.append([f"{model}, {kind}", *(f"{value:.3f}" for value in values)])
    return table(["", *(f"{seconds:.1f} s" for seconds in error["utterances_s"])], rows)
