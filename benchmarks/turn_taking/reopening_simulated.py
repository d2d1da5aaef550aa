"""What becomes of a turn with a pause in it, in virtual time: no server, and no machine in the way.

    python -m benchmarks.turn_taking.reopening_simulated --first-sound-ms 150 560 --json FILE

The cases and the counts are those of `benchmarks.turn_taking.reopening`. The dialogue, the detector
of speech, the ear, the judges of ends and of interruptions are the server's own; brain and voice
are scripted. Each takes a set time: the answer's first sound is ready so many ms after the caller
has fallen silent. So the counts say what the policy does, for a machine as fast as one likes.
"""

import argparse
import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.turn_taking.corpus import Listener
from benchmarks.turn_taking.policies import default_listener
from benchmarks.turn_taking.reopening import (
    LEAD_S,
    PATIENCE_S,
    SETTLED_S,
    Case,
    Outcome,
    Talk,
    people,
    summary,
    synthetic,
)
from client.bench.machine import source_commit
from client.realtime import CHUNK_SAMPLES, SAMPLE_RATE_HZ
from duplex.audio.formats import Samples, encode_pcm16
from duplex.interruption.judge import InterruptionJudge
from duplex.testing.caller import Caller
from duplex.testing.engine import Script, ScriptedEngine, ScriptedSession
from duplex.testing.virtual_time import virtual
from engine.ear.smart_turn import SmartTurn
from engine.ear.whisper import WhisperEar
from engine.types import Message, Speech, Transcript

EAR_S, JUDGE_S = 0.12, 0.05  # a pass of each takes so long
KNOWN_S = 0.032 + EAR_S + 0.02  # of silence until an answer to the words can begin; a voice's step
SAYS = ((Speech("Here is an answer of about as many words as usual. "), Speech("And another.")),)


@dataclass
class HearingEngine(ScriptedEngine):
    """Hears what is said; its answers are scripted."""

    ear: WhisperEar | None = None

    def open(self) -> "HearingSession":
        """Start a call."""
        assert self.ear is not None
        return HearingSession(self.script, self.ear)


class HearingSession(ScriptedSession):
    """A call's side of `HearingEngine`."""

    def __init__(self, script: Script, ear: WhisperEar) -> None:
        super().__init__(script)
        self._ear = ear

    async def listen(self, history: Sequence[Message]) -> AsyncGenerator[Transcript, None]:
        """There are no partial transcripts."""
        await asyncio.Event().wait()
        yield Transcript("", "", 0)

    async def end_turn(self) -> Transcript:
        """The words so far."""
        heard = np.concatenate([*self.audio, np.zeros(0, np.float32)])
        await asyncio.sleep(EAR_S)
        text = self._ear.transcribe(heard)
        return Transcript(text, text, len(heard))


@dataclass(frozen=True)
class TimedEnds:
    """Smart Turn, as if it took `JUDGE_S`."""

    network: SmartTurn

    async def completeness(self, samples: Samples) -> float:
        """See `duplex.dialogue.interfaces.EndEar`."""
        await asyncio.sleep(JUDGE_S)
        return self.network.completeness(samples)

    def close(self) -> None:
        """It holds no thread."""


async def hold(case: Case, seed: int, first_sound_s: float, listener: Listener) -> Outcome:
    """Hold one call; its answer's first sound takes ``first_sound_s`` from the caller's silence."""
    script = Script(says=SAYS, piece_s=max(0.0, first_sound_s - KNOWN_S))
    engine = HearingEngine(script, ear=listener.ear)
    caller = Caller(engine=engine)
    caller.parts = replace(
        caller.parts,
        vad=listener.vad,
        end_ear=TimedEnds(listener.smart_turn),
        open_judge=InterruptionJudge,
    )
    talk, noise = Talk(case), np.random.default_rng(seed)
    lead = np.zeros(round(LEAD_S * SAMPLE_RATE_HZ), np.float32)
    said = np.concatenate([lead, case.samples])
    end, position, taken = len(lead) + case.end, 0, 0
    async with caller:
        transcribed = {"input": {"transcription": {"model": "whisper-1"}}}
        caller.send("session.update", session={"type": "realtime", "audio": transcribed})
        began_s = caller.now_s
        while True:
            chunk = said[position : position + CHUNK_SAMPLES]
            chunk = np.concatenate([chunk, np.zeros(CHUNK_SAMPLES - len(chunk), np.float32)])
            room = noise.normal(0, 10 ** (-65 / 20), CHUNK_SAMPLES)
            pcm = encode_pcm16((chunk + room).astype(np.float32))
            caller.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())
            position += CHUNK_SAMPLES
            await asyncio.sleep(CHUNK_SAMPLES / SAMPLE_RATE_HZ)
            for event, at_s in zip(caller.events[taken:], caller.times_s[taken:], strict=True):
                talk.take(event, round((at_s - began_s) * SAMPLE_RATE_HZ))
            taken = len(caller.events)
            quiet = position - max(talk.last, talk.playout.end, end)
            is_answered = talk.playout.end > end and not talk.busy
            if position - end > PATIENCE_S * SAMPLE_RATE_HZ or (
                is_answered and quiet > SETTLED_S * SAMPLE_RATE_HZ
            ):
                return talk.outcome()


def main() -> None:
    """Run the benchmark; print the counts, and write them with each outcome."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--first-sound-ms", type=int, nargs="+", default=[150, 560])
    parser.add_argument("--speech", type=Path, help="recordings with a manifest.jsonl")
    parser.add_argument("--limit", type=int, default=20, help="cases of each kind")
    parser.add_argument("--cache", type=Path, default=Path("out/voices"), help="of what is said")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kinds = {"halves": synthetic(options.cache)[: options.limit]}
    if options.speech is not None:
        kinds["people"] = people(options.speech, options.limit)
    report: dict[str, Any] = {"commit": source_commit(), "ear_s": EAR_S, "judge_s": JUDGE_S}
    listener = default_listener()
    for ms in options.first_sound_ms:
        for kind, cases in kinds.items():
            outcomes = [
                virtual(hold(case, seed, ms / 1000, listener)) for seed, case in enumerate(cases)
            ]
            counts = summary(outcomes)
            print(f"first sound {ms} ms, {kind}:", counts, flush=True)
            found = report.setdefault(f"first sound {ms} ms", {})
            found[kind] = {**counts, "outcomes": [asdict(o) for o in outcomes]}
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
