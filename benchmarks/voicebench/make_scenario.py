"""Writes what `voicebench` plays: the bench's own questions as WAV files, and its scenario.

    python benchmarks/voicebench/make_scenario.py --url ws://127.0.0.1:8765/v1/realtime --out DIR

JSON is YAML, so the scenario needs no library.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from client.bench.questions import load_questions, record
from client.sound.speech import Recording
from duplex.audio.files import write_wav
from duplex.cli.recordings import speaker
from duplex.config import load_config

RATE_HZ = 24_000
INTO_ANSWER_MS = (1200, 800, 1700)
PATIENCE_MS = 60_000  # an answer may be long; then the next turn starts regardless


def main() -> None:
    """Synthesise, write, tell the command."""
    parser = argparse.ArgumentParser(description="Write a scenario for voicebench.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--out", type=Path, default=Path("out/voicebench"))
    parser.add_argument("--questions", type=int, default=6)
    parser.add_argument("--events", type=int, default=4, help="interruptions, and backchannels")
    options = parser.parse_args()
    folder = options.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    speak, texts = speaker(load_config(None, {})), load_questions()

    def turn(number: int, recording: Recording, **more: Any) -> dict[str, Any]:
        path = folder / f"{recording.id}.wav"
        write_wav(path, recording.samples, RATE_HZ)
        audio = {"file": str(path)}
        return {"id": f"{number:02}-{recording.id}", "audio": audio, "text": recording.text} | more

    turns: list[dict[str, Any]] = []
    for question in texts.ordinary[: options.questions]:
        turns.append(turn(len(turns), record(question, speak), start=_after_answer()))
    for kind, expect in ((texts.interruptions, "stop"), (texts.backchannels, "ignore")):
        for index in range(options.events):
            asked = record(texts.talkative[index % len(texts.talkative)], speak)
            turns.append(turn(len(turns), asked, start=_after_answer()))
            said = record(kind[index % len(kind)], speak)
            start = {
                "after": "agent_speech_start",
                "delay_ms": INTO_ANSWER_MS[index % len(INTO_ANSWER_MS)],
            }
            turns.append(turn(len(turns), said, start=start, expect=expect))
    turns[0]["start"] = {"after": "session_start", "delay_ms": 500}
    adapter = {"type": "realtime_adapter:RealtimeAdapter", "options": {"url": options.url}}
    scenario = {
        "name": "duplex",
        "sample_rate": RATE_HZ,
        "max_duration_ms": 900_000,
        # Between two sentences of one answer the voice is silent for longer than the suite's
        # 250 ms, which would be the answer's end.
        "vad": {"agent": {"min_silence_ms": 700}},
        "adapter": adapter,
        "turns": turns,
    }
    path = folder / "scenario.yaml"
    path.write_text(json.dumps(scenario, indent=1) + "\n", "utf-8")
    print(f"PYTHONPATH={Path(__file__).parent} voicebench run {path} --out {folder / 'results'}")


def _after_answer() -> dict[str, Any]:
    return {"after": "agent_speech_end", "delay_ms": 600, "timeout_ms": PATIENCE_MS}


if __name__ == "__main__":
    main()
