"""A run's figures in a few lines."""

from collections.abc import Callable, Iterator
from typing import Any


def table(data: dict[str, Any]) -> str:
    """What a run found, and what is missing."""
    lines = []
    if about := data.get("circumstances"):
        versions = about["versions"]
        lines.append(f"{about['device']}, torch {versions['torch']}, triton {versions['triton']}")
    if floors := data["results"].get("floors"):
        copy, product = floors["bytes_per_s"] / 1e12, floors["flops_per_s"] / 1e12
        lines.append(f"copy {copy:.2f} TB/s, product {product:.0f} TFLOP/s")
    for task, result in data["results"].items():
        model, _, section = task.partition("/")
        if section:
            lines += [f"{model:5}{line}" for line in _LINES[section](result)]
    for kind in ("failed", "skipped"):
        lines += [f"{kind}: {task}: {reason[:160]}" for task, reason in data[kind].items()]
    return "\n".join(lines)


def _decoding(result: dict[str, Any]) -> Iterator[str]:
    """The parts that are there: a run may have ended amid them."""
    for way in ("graphs", "eager"):
        for one in result.get("decode", {}).get(way, []):
            yield (
                f"decode {way:6} {one['rows']:3} rows {one['tokens_per_s']:9.1f} tok/s "
                f"{one['step_ms']['p50']:8.3f} ms (host {one['host_ms']['p50']:.3f}) "
                f"{one['of_floor']:5.0%} of floor"
            )
    for one in result.get("prefill", []):
        yield (
            f"prefill {one['tokens']:5} {one['tokens_per_s']:9.0f} tok/s "
            f"{one['ms']['p50']:8.2f} ms {one['of_floor']:5.0%} of floor"
        )
    if mixed := result.get("mixed"):
        took = mixed["ms"]["p50"]
        yield f"{mixed['rows']} rows beside {mixed['prefill']} of a prompt {took:.2f} ms"
    for one in result.get("choosing", []):
        yield f"choosing {one['rows']:3} rows {one['sampling']:12} {one['ms']['p50']:.3f} ms"
    for one in result.get("through_scheduler", []):
        yield f"through the scheduler {one['rows']:3} rows {one['tokens_per_s']:9.1f} tok/s"


def _curve(result: dict[str, Any]) -> Iterator[str]:
    yield f"{'turn, s':24}" + "".join(f"{turn:>8g}" for turn in result["turns_s"])
    for way in ("incremental", "batch"):
        for kind in ("p50", "p95"):
            values = "".join(f"{entry[kind]:8.1f}" for entry in result[way]["first_token_ms"])
            yield f"{f'{way} {kind}, ms':24}{values}"
        yield f"{way}: the longest is {result[way]['longest_to_shortest']:.2f} of the shortest"


def _first_packet(result: dict[str, Any]) -> Iterator[str]:
    for way, one in result.items():
        if isinstance(one, dict):
            clause = one["first_clause_ms"]
            yield (
                f"first clause, {way:12} {clause['p50']:9.1f} ms (p95 {clause['p95']:.1f}, "
                f"n {clause['n']}), {one['thoughts_before']} thoughts before"
            )


def _capacity(result: dict[str, Any]) -> Iterator[str]:
    for voice, one in result.items():
        if isinstance(one, dict):
            yield f"{voice}: {one['most_calls']} calls at {one['tokens_per_s']:g} tok/s"
            for count in one["counts"]:
                gap = count["token_gap_ms"]
                yield (
                    f"  {count['calls']:3} calls {'hold' if count['holds'] else 'do not hold':12}"
                    f"chunk lag p95 {count['chunk_lag_ms']['p95']:.0f} ms, token gap p95 "
                    f"{gap['p95'] if gap else float('nan'):.1f} ms, late {count['late_tokens']:.1%}"
                )


def _transformers(result: dict[str, Any]) -> Iterator[str]:
    for one in result["rows"]:
        equal = [a["equal_after_same_words"] for a in one["agreement"]]
        total = sum(a["tokens"] for a in one["agreement"])
        ours, theirs = one["ours"], one["transformers"]
        yield (
            f"{one['rows']:3} rows: step {ours['step_ms']:.2f} ms, transformers "
            f"{theirs['step_ms']:.2f}; prefill {ours['prefill_ms']['p50']:.1f} ms, "
            f"{theirs['prefill_ms']['p50']:.1f}; {sum(equal)} of {total} tokens equal"
        )


def _quantised(result: dict[str, Any]) -> Iterator[str]:
    for bits, found in result.items():
        for one in found["graphs"]:
            yield (
                f"decode {bits} {one['rows']:3} rows {one['tokens_per_s']:9.1f} tok/s "
                f"{one['step_ms']['p50']:8.3f} ms {one['of_floor']:5.0%} of floor"
            )
        for one in found["prefill"]:
            yield f"prefill {bits} {one['tokens']:5} {one['ms']['p50']:8.2f} ms"


def _voice(result: dict[str, Any]) -> Iterator[str]:
    for count, both in result["utterances"].items():
        for way in ("in_turn", "together"):
            one = both[way]
            yield (
                f"voice of {count:>3} utterances {way:8}: {one['chunk_of_all_ms']['p50']:.1f} ms "
                f"for a second of each (first {one['first_chunk_of_all_ms']:.1f}), "
                f"{one['busy']:.0%} of real time"
            )
        yield f"voice of {count:>3} utterances: at most {both['difference']:.1e} apart"


def _kernels(result: list[dict[str, Any]]) -> Iterator[str]:
    wrong = sum(not one["ok"] for one in result)
    timed = [one for one in result if "speedup" in one]
    faster = sum(one["speedup"] > 1 for one in timed)
    yield f"kernels: {len(result)} cases, {wrong} wrong, {faster} of {len(timed)} beat torch"


def _encoder(result: dict[str, Any]) -> Iterator[str]:
    for way in ("eager", "graphs"):
        for count, one in result.get(way, {}).items():
            took, host = one["ms"], one["host_ms"]
            yield (
                f"chunk of {count:>3} calls {way:6} {took['p50']:.2f} ms (host {host['p50']:.2f})"
            )
    if "difference" in result:
        yield f"chunks of both ways at most {result['difference']:.1e} apart"
    if exact := result.get("exact_ms"):
        passes = ", ".join(f"{turn} s {one['p50']:.1f}" for turn, one in exact.items())
        yield f"exact pass, ms: {passes}"


_LINES: dict[str, Callable[[Any], Iterator[str]]] = {
    "decoding": _decoding,
    "curve": _curve,
    "first_packet": _first_packet,
    "capacity": _capacity,
    "transformers": _transformers,
    "quantised": _quantised,
    "kernels": _kernels,
    "encoder": _encoder,
    "voice": _voice,
}
