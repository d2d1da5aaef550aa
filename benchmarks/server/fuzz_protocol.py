"""A million broken messages against the wire protocol: nothing but protocol errors, and no hang.

    python -m benchmarks.server.fuzz_protocol [--inputs 1000000] [--seed 0] [--out FILE]

Messages are made from valid client events by mutation: bytes flipped, cut, doubled and spliced;
JSON values swapped for others of every kind, keys renamed, dropped and nested. Each goes the way
that a client's message goes: from the shape (GA or beta) to an event, and on into the session's
configuration or the conversation. Then what the server would say of it is encoded, put into the
client's shape and decoded again.
"""

import argparse
import copy
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from duplex.errors import ProtocolError
from duplex.protocol import client_events as wire
from duplex.protocol import server_events
from duplex.protocol.beta import BetaShape
from duplex.protocol.conversation import Conversation
from duplex.protocol.ids import NewId, counting_ids
from duplex.protocol.item_requests import obey
from duplex.protocol.response_plan import plan_response
from duplex.protocol.session_config import SessionConfig
from duplex.protocol.shapes import GaShape, Shape

SLOW_S = 1.0  # one message may not take longer: it stands in the way of all calls

TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "now",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SESSION = {
    "type": "realtime",
    "instructions": "Be kind.",
    "output_modalities": ["audio"],
    "tools": [TOOL],
    "tool_choice": {"type": "function", "name": "get_weather"},
    "max_output_tokens": 100,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "whisper-1", "language": "en"},
            "turn_detection": {"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 200},
            "noise_reduction": {"type": "near_field"},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": {"id": "x"}, "speed": 1.1},
    },
    "duplex": {"metrics": True},
}
FLAT = {
    "modalities": ["text", "audio"],
    "voice": "alloy",
    "input_audio_format": "g711_ulaw",
    "output_audio_format": "pcm16",
    "input_audio_transcription": {"model": "whisper-1"},
    "turn_detection": {"type": "server_vad"},
    "temperature": 0.8,
    "max_response_output_tokens": "inf",
}
MESSAGE = {
    "type": "message",
    "role": "user",
    "id": "item_a",
    "content": [{"type": "input_text", "text": "Hello"}],
}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "ok"}
VALID: list[dict[str, Any]] = [
    {"type": "session.update", "session": SESSION, "event_id": "event_1"},
    {"type": "session.update", "session": FLAT},
    {"type": "input_audio_buffer.append", "audio": "AAAAAAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "item": MESSAGE, "previous_item_id": "root"},
    {"type": "conversation.item.create", "item": CALL},
    {"type": "conversation.item.create", "item": OUTPUT},
    {"type": "conversation.item.delete", "item_id": "item_a"},
    {"type": "conversation.item.retrieve", "item_id": "item_a"},
    {
        "type": "conversation.item.truncate",
        "item_id": "item_a",
        "content_index": 0,
        "audio_end_ms": 100,
    },
    {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "input": [MESSAGE, {"type": "item_reference", "id": "item_a"}],
            "metadata": {"a": "b"},
            "tools": [TOOL],
            "output_modalities": ["text"],
        },
    },
    {"type": "response.create", "response": {"modalities": ["text"], "instructions": "x"}},
    {"type": "response.cancel", "response_id": "resp_1"},
]
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1e308, -1e-9, 2**63, 2**70, "", "\ud800", "\x00", "null", "é" * 50,
    [], {}, [[]], [None], {"": ""}, {"type": "x"}, "A" * 2000, [1] * 200,
    "root", "item_a", "realtime", "server_vad", "audio/pcm", "auto", "inf", ["audio"], ["text"],
]  # fmt: skip


class Fuzzer:
    """Makes messages, sends them, and counts what came of them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.outcomes: Counter[str] = Counter()
        self.slowest_s = 0.0
        self._open()

    def _open(self) -> None:
        self._new_id: NewId = counting_ids()
        self._session = SessionConfig()
        self._conversation = Conversation()
        self._shape: Shape = self._random.choice([GaShape(), BetaShape("conv")])  # type: ignore[assignment]

    def run(self, inputs: int) -> None:
        """Raises whatever is not a protocol error."""
        for number in range(inputs):
            if number % 200 == 0:  # a call is not longer than this
                self._open()
            message = self._message()
            began = time.perf_counter()
            try:
                self.outcomes[self._send(message)] += 1
            except Exception as error:
                error.add_note(f"message {number}: {message!r}")
                raise
            self.slowest_s = max(self.slowest_s, took := time.perf_counter() - began)
            if took > SLOW_S:
                raise TimeoutError(f"message {number} took {took:.2f} s: {message[:200]!r}")

    def _send(self, message: str | bytes) -> str:
        event_id = None
        try:
            event = self._shape.read(message)
            event_id = event.event_id
            answers = self._obey(event)
            outcome = "obeyed"
        except ProtocolError as error:
            answers = [server_events.client_error(error, event_id)]
            outcome = str(error.code)
        for answer in answers:
            server_events.decode(server_events.encode(answer, self._new_id))
            for told in self._shape.write(answer, self._new_id):
                json.loads(told)  # type: ignore[arg-type]  # both shapes write text
        return outcome

    def _obey(self, event: wire.ClientEvent) -> list[server_events.ServerEvent]:
        match event:
            case wire.SessionUpdate():
                self._session = self._session.merge(event.session)
                return [server_events.session_updated("sess", self._session)]
            case wire.ItemCreate() | wire.ItemDelete() | wire.ItemRetrieve():
                return obey(event, self._conversation, self._new_id)
            case wire.ItemTruncate():
                self._conversation.check_truncate(event.item_id, event.content_index)
            case wire.ResponseCreate():
                plan_response(self._session, event.response)
        return []

    def _message(self) -> str | bytes:
        event: Any = json.loads(json.dumps(self._random.choice(VALID)))
        for _ in range(self._random.randrange(4)):
            event = self._mutate(event)
        try:
            text = json.dumps(event, ensure_ascii=self._random.random() < 0.5)
        except (ValueError, RecursionError):
            return "{"
        if self._random.random() < 0.5:
            return text
        raw = bytearray(text.encode(errors="surrogatepass"))
        for _ in range(self._random.randrange(1, 6)):
            self._damage(raw)
        if self._random.random() < 0.5:
            return bytes(raw)
        return raw.decode(errors="replace")

    def _damage(self, raw: bytearray) -> None:
        at = self._random.randrange(len(raw) + 1)
        kinds: list[Callable[[], None]] = [
            lambda: raw.insert(at, self._random.randrange(256)),
            lambda: raw.__delitem__(slice(at, at + self._random.randrange(1, 20))),
            lambda: raw.__setitem__(slice(at, at), raw[at : at + 40]),
            lambda: raw.__setitem__(slice(at, at), b"[" * self._random.choice([1, 50, 3000])),
            lambda: raw.__setitem__(slice(at, at), b'{"a":' * self._random.choice([1, 50, 3000])),
            lambda: raw.__delitem__(slice(at, None)),
        ]
        self._random.choice(kinds)()

    def _mutate(self, value: Any) -> Any:
        """``value`` with one thing in it changed."""
        roll = self._random.random()
        if isinstance(value, dict) and value and roll < 0.85:
            key = self._random.choice(list(value))
            if roll < 0.1:
                del value[key]
            elif roll < 0.2:
                value[self._random.choice(["type", "id", "audio", "", "session", key + "x"])] = (
                    copy.deepcopy(self._random.choice(STRANGE))
                )
            else:
                value[key] = self._mutate(value[key])
            return value
        if isinstance(value, list) and value and roll < 0.8:
            index = self._random.randrange(len(value))
            value[index] = self._mutate(value[index])
            flat = not any(isinstance(item, list | dict) for item in value)
            return (
                value * self._random.choice([1, 1, 2, 10]) if flat and len(value) < 300 else value
            )
        if roll > 0.97:
            for _ in range(self._random.choice([3, 70, 400])):
                value = self._random.choice([{"a": value}, [value]])
            return value
        return copy.deepcopy(self._random.choice(STRANGE))


def main() -> None:
    """Fuzz and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    fuzzer = Fuzzer(options.seed)
    began = time.perf_counter()
    fuzzer.run(options.inputs)
    result = {
        "inputs": options.inputs,
        "seed": options.seed,
        "seconds": round(time.perf_counter() - began, 1),
        "slowest_ms": round(1000 * fuzzer.slowest_s, 1),
        "outcomes": dict(fuzzer.outcomes.most_common()),
    }
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
