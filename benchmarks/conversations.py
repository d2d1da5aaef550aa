"""Whole conversations with recordings of people, kept to be listened to.

    python -m benchmarks.conversations --url URL --speech DIR --out docs/conversations

Each of `TALKS` is one call: its recordings are asked one after the other, each when the answer
before was heard. ``NAME.ogg`` has the caller on the left and on the right what they heard;
``NAME.json`` says of each turn what was said, understood and answered, and what went wrong.
"""

import argparse
import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from client.caller.caller import CallOptions, CallResult, Utterance, hold_call
from client.realtime import SAMPLE_RATE_HZ, SessionOptions, connect, realtime_url
from client.sound.speech import Recording, read_speech

TALKS = {
    "questions": (
        "question_en_cognitive-services_001.flac",
        "question_en_cognitive-services_002.flac",
        "statement_en_cognitive-services_004.flac",
        "statement_en_cognitive-services_008.flac",
    ),
    "several-sentences": (
        "multi_sentence_en_cognitive-services_003.flac",
        "statement_en_cognitive-services_005.flac",
        "statement_en_cognitive-services_001.flac",
    ),
    "spontaneous": (
        "spontaneous_en_pyannote-audio_008.flac",
        "hesitation_en_montreal-forced-al_005.flac",
        "spontaneous_en_pyannote-audio_004.flac",
        "spontaneous_en_montreal-forced-al_001.flac",
    ),
}
_KEPT = (
    "transcript", "answer", "speech_start_ms", "speech_end_ms", "v2v_ms", "cut_offs", "answer_cut",
    "underruns", "status", "errors",
)  # fmt: skip


async def hold(url: str, speech: Path, files: tuple[str, ...]) -> CallResult:
    """One call."""
    said = [Utterance(Recording(name, "", read_speech(speech / name))) for name in files]
    client = await connect(realtime_url(url, None), key=None)
    return await hold_call(client, said, CallOptions(session=SessionOptions(duplex=True)))


def written(result: CallResult, texts: dict[str, str]) -> list[dict[str, Any]]:
    """What is kept of each turn."""
    rows = []
    for turn in result.turns:
        kept = {name: value for name, value in asdict(turn).items() if name in _KEPT}
        rows.append({"file": turn.question_id, "said": texts[turn.question_id], **kept})
    return rows


def main() -> None:
    """Hold the conversations."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--speech", type=Path, required=True, help="recordings and manifest.jsonl")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    lines = (options.speech / "manifest.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    texts = {row["file"]: row.get("transcript") or "" for row in rows}
    options.out.mkdir(parents=True, exist_ok=True)
    for name, files in TALKS.items():
        result = asyncio.run(hold(options.url, options.speech, files))
        length = max(len(result.said), len(result.heard))
        sides = [np.pad(side, (0, length - len(side))) for side in (result.said, result.heard)]
        sound = np.stack(sides, axis=1)
        path = options.out / f"{name}.ogg"
        soundfile.write(path, sound, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS")
        turns = written(result, texts)
        text = json.dumps(turns, indent=1, ensure_ascii=False) + "\n"
        path.with_suffix(".json").write_text(text, "utf-8")
        for turn in turns:
            print(name, json.dumps(turn, ensure_ascii=False))


if __name__ == "__main__":
    main()
