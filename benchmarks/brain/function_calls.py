"""How many calls of functions a local brain makes that can be obeyed, and how many answers it then
speaks.

    python -m benchmarks.brain.function_calls --json FILE

Five functions are offered at once. Each of 20 questions is asked with ``tool_choice`` "required",
a named function, and "auto"; each is greedy and at temperature 0.8. A call is valid if its function
is offered and `jsonschema` finds nothing in its arguments. Then each question is asked with a
good call and its result after it: the answer has to be spoken, without a call, and to hold the
value that the result brought. ``right`` counts the calls of the very function and arguments that
were meant.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from benchmarks.brain.function_call_cases import CASES, SCHEMAS, TOOLS, Case
from client.bench.machine import source_commit
from duplex.app.build import load_brain
from duplex.config import BrainConfig, Config
from duplex.model_store import ModelStore, Progress
from engine.brain.interface import Brain
from engine.brain.responder import Responder
from engine.brain.style import system_prompt
from engine.errors import EngineError
from engine.types import (
    CallArguments,
    CallRule,
    CallStarted,
    Finished,
    GenerationOptions,
    Message,
    Speech,
    ToolCall,
    ToolResult,
)

MODES = ("required", "named", "auto", "follow_up")
TEMPERATURES = (0.0, 0.8)
MAX_TOKENS = 256
INSTRUCTIONS = {
    "spoken": system_prompt(),
    "plain": "You are a helpful assistant.",
}


def rule_of(mode: str, case: Case) -> CallRule:
    """The rule by which a case is asked."""
    match mode:
        case "required":
            return CallRule(must=True, many=False)
        case "named":
            return CallRule(must=True, name=case.name, many=False)
        case _:
            return CallRule(chained=False)  # as the embedded models are asked


def talk_of(mode: str, case: Case, instructions: str) -> list[Message]:
    """The conversation that is to be answered."""
    talk = [Message("system", instructions, tools=TOOLS), Message("user", case.question)]
    if mode == "follow_up":
        call = ToolCall(case.name, json.dumps(case.arguments), "call_1")
        result = ToolResult(case.name, json.dumps(case.output), "call_1")
        talk += [Message("assistant", "", calls=(call,)), Message("tool", "", results=(result,))]
    return talk


async def ask(
    responder: Responder[str], talk: list[Message], options: GenerationOptions
) -> tuple[str, list[ToolCall], str]:
    """What is said, what is called, and how it ended."""
    said, calls, ending = "", [], ""
    try:
        async with aclosing(responder.respond(talk, options)) as pieces:
            async for piece in pieces:
                match piece:
                    case Speech(text):
                        said += text
                    case CallStarted(name):
                        calls.append(ToolCall(name, ""))
                    case CallArguments(text):
                        calls[-1] = ToolCall(calls[-1].name, calls[-1].arguments + text)
                    case Finished(reason):
                        ending = reason
    except EngineError as error:
        ending = f"error: {error}"
    return said, calls, ending


def is_valid(call: ToolCall) -> bool:
    """Whether the function is offered and the arguments follow its schema."""
    if call.name not in SCHEMAS:
        return False
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        return False
    checker = Draft202012Validator(
        SCHEMAS[call.name], format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return bool(checker.is_valid(arguments))


def judge(mode: str, case: Case, said: str, calls: list[ToolCall], ending: str) -> dict[str, bool]:
    """What an answer is counted as."""
    if mode == "follow_up":
        is_spoken = ending == "stop" and not calls and bool(said.strip())
        has_value = any(word.lower() in said.lower() for word in case.wanted)
        is_text = not any(sign in said for sign in "{}<>")
        return {"spoken": is_spoken and is_text, "ok": is_spoken and is_text and has_value}
    is_whole = ending == "stop" and bool(calls)
    valid = is_whole and all(map(is_valid, calls))
    right = valid and calls[0].name == case.name
    exact = right and json.loads(calls[0].arguments) == case.arguments
    return {"called": bool(calls), "ok": valid, "right_function": right, "right": exact}


async def measure(brain: Brain, args: argparse.Namespace) -> dict[str, Any]:
    """Ask all; returns counts by mode and temperature, and each answer."""
    counts: dict[str, Any] = {}
    answers: list[dict[str, Any]] = []
    # One session for all: its cache keeps what they begin with, the list of functions.
    session = brain.open()
    responder: Responder[str] = Responder(session)
    for temperature in args.temperatures:
        for mode in args.modes:
            began = time.monotonic()
            row: dict[str, int] = {"of": len(CASES)}
            for case in CASES:
                options = GenerationOptions(
                    max_tokens=MAX_TOKENS, temperature=temperature, calls=rule_of(mode, case)
                )
                talk = talk_of(mode, case, INSTRUCTIONS[args.instructions])
                said, calls, ending = await ask(responder, talk, options)
                found = judge(mode, case, said, calls, ending)
                for name, is_so in found.items():
                    row[name] = row.get(name, 0) + is_so
                answers.append(
                    {
                        "mode": mode,
                        "temperature": temperature,
                        "question": case.question,
                        "said": said,
                        "calls": [[call.name, call.arguments] for call in calls],
                        "ending": ending,
                        **found,
                    }
                )
            counts[f"{mode} at {temperature}"] = row
            print(mode, temperature, row, f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    closing = session.close()
    if closing is not None:
        await closing
    return {"counts": counts, "answers": answers}


def main() -> None:
    """Measure, and print or write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=Config().brain.model)
    parser.add_argument("--instructions", choices=INSTRUCTIONS, default="spoken")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--temperatures", nargs="+", type=float, default=TEMPERATURES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    config = Config(brain=BrainConfig(model=args.model, threads=args.threads))
    brain = load_brain(config, ModelStore(config.cache_dir()), Progress(sys.stderr))
    try:
        found = asyncio.run(measure(brain, args))
    finally:
        brain.close()
    result = {
        "model": args.model,
        "instructions": args.instructions,
        "commit": source_commit(),
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "onnxruntime": version("onnxruntime"),
        **found,
    }
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if args.json:
        args.json.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
