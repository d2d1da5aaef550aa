"""What becomes of a turn with a pause in it, over the wire, in real time.

    python -m benchmarks.turn_taking.reopening --url 127.0.0.1:8765 --json out/reopening.json

Sentences in two halves, spoken by the packaged voice with a pause of 500 to 900 ms between them;
with ``--speech DIR`` also recordings of people whose manifest names an inner pause of 400 to
1200 ms. Each is one call to a running server. Counted are the sentences that end up as more than
one item of the caller's, those whose answer sounded into what followed the pause, those whose
words are right and of one item, and those that were answered once, after their end.
"""

import argparse
import asyncio
import base64
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.turn_taking.events.voices import Voices
from client.bench.word_errors import wer
from client.caller.caller import set_up
from client.realtime import CHUNK_MS, CHUNK_SAMPLES, SAMPLE_RATE_HZ, SessionOptions, connect
from client.realtime import realtime_url as address_of
from client.sound.playout import Playout
from client.sound.speech import AUDIBLE, read_speech
from duplex.audio.formats import decode_pcm16
from duplex.audio.resample import resample
from duplex.model_store import default_root

HALVES = (
    ("I want to buy a present for", "my brother."),
    ("Can you tell me how to get to", "the central station?"),
    ("I would like to book a table for", "four people on Friday."),
    ("What is the capital of", "New Zealand?"),
    ("Please remind me to call", "the dentist tomorrow morning."),
    ("I have been thinking about", "moving to another city."),
    ("Tell me something about the history", "of the Roman empire."),
    ("We need two tickets", "to the concert on Saturday."),
    ("How long does it take to cook", "a soft boiled egg?"),
    ("My favourite colour is blue", "but my sister likes green."),
    ("I lost my keys", "somewhere in the garden."),
    ("Could you explain why", "the sky is blue?"),
    ("Is there a good restaurant", "near the old harbour?"),
    ("I have a question about", "my last invoice."),
    ("Turn on the lights", "in the kitchen, please."),
    ("What should I cook for dinner", "if I only have potatoes?"),
    ("My train leaves at seven", "from platform nine."),
    ("Who wrote the book", "about the white whale?"),
    ("I am looking for a hotel", "with a swimming pool."),
    ("Please send the package", "to my office in London."),
)
PAUSES_MS = (500, 600, 700, 800, 900)
VOICES = ("pj-100", "pj-88", "pj-118")  # the packaged voice at three pitches
PEOPLE_MS = (400, 1200)
LONGEST_S = 12.0
LEAD_S, PATIENCE_S, SETTLED_S = 0.6, 14.0, 1.5
_STEP = SAMPLE_RATE_HZ // 1000  # samples of 1 ms


@dataclass(frozen=True, slots=True)
class Case:
    """``pauses``: in samples from the recording's beginning, each from its first to the last."""

    name: str
    text: str
    samples: NDArray[np.float32]
    pauses: tuple[tuple[int, int], ...]
    end: int  # of speech


@dataclass(slots=True)
class Outcome:
    """What became of one case. Times in ms; ``into_ms`` is how much of an answer was audible while
    the caller spoke again, before their end."""

    name: str
    pause_ms: list[int]
    items: list[str] = field(default_factory=list)  # the caller's, as the client has them at last
    text: str = ""
    word_error_rate: float = 1.0
    into_ms: float = 0.0
    answers_after: int = 0  # responses that were heard after the caller's end and kept
    delay_ms: float | None = None
    errors: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return len(self.items) == 1 and self.word_error_rate == 0


def synthetic(cache: Path) -> list[Case]:
    """One case for each sentence, with the pauses in turn."""
    voices = Voices(default_root(), cache, cache)
    cases = []
    for index, (first, second) in enumerate(HALVES):
        pause_ms, voice = PAUSES_MS[index % len(PAUSES_MS)], VOICES[index % len(VOICES)]
        one, two = (
            resample(voices.say(voice, half), 16_000, SAMPLE_RATE_HZ) for half in (first, second)
        )
        pause = (len(one), len(one) + pause_ms * _STEP)
        sound = np.concatenate([one, np.zeros(pause_ms * _STEP, np.float32), two])
        cases.append(Case(f"halves-{index:02d}", f"{first} {second}", sound, (pause,), len(sound)))
    return cases


def people(folder: Path, limit: int) -> list[Case]:
    """Recordings with inner pauses of `PEOPLE_MS`, by their manifest."""
    cases = []
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        wanted = [
            (round(start * SAMPLE_RATE_HZ), round(stop * SAMPLE_RATE_HZ))
            for start, stop in row.get("inner_pauses", ())
            if PEOPLE_MS[0] <= (stop - start) * 1000 <= PEOPLE_MS[1]
        ]
        is_wanted = row["kind"] in ("multi_sentence", "hesitation", "spontaneous", "question")
        if not wanted or not is_wanted or row["language"] != "en" or row["seconds"] > LONGEST_S:
            continue
        end = round(row["speech_end_s"] * SAMPLE_RATE_HZ)
        sound = read_speech(folder / row["file"])[: end + SAMPLE_RATE_HZ // 5]
        cases.append(Case(row["file"], row["transcript"], sound, tuple(wanted), end))
    return cases[:limit]


class Talk:
    """One call, in samples at 24 kHz since it began."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.playout = Playout()
        self.items: dict[str, str] = {}  # of the caller, by id
        self.kept: set[str] = set()  # the assistant's
        self.busy = 0  # responses under way
        self.last = 0  # when something happened
        self.errors: list[str] = []

    def take(self, event: dict[str, Any], now: int) -> None:
        """Follow one server event, as a stock client does."""
        kind = event["type"]
        if kind == "response.output_audio.delta":
            pcm = decode_pcm16(base64.b64decode(event["delta"]))
            self.playout.feed(event["item_id"], pcm, now)
        elif kind == "input_audio_buffer.speech_started":
            self.playout.interrupt(now)
        elif kind == "conversation.item.added":
            self.added(event["item"])
        elif kind == "conversation.item.deleted":
            self.items.pop(event["item_id"], None)
            self.kept.discard(event["item_id"])
        elif kind == "conversation.item.input_audio_transcription.completed":
            if event["item_id"] in self.items:
                self.items[event["item_id"]] = event["transcript"].strip()
        elif kind in ("response.created", "response.done"):
            self.busy += 1 if kind == "response.created" else -1
        elif kind == "error":
            self.errors.append(event["error"]["message"])
        self.last = now

    def added(self, item: dict[str, Any]) -> None:
        """The conversation has another item."""
        if item.get("role") == "user":
            self.items[item["id"]] = ""
        elif item.get("role") == "assistant":
            self.kept.add(item["id"])

    def outcome(self) -> Outcome:
        case, begin = self.case, round(LEAD_S * SAMPLE_RATE_HZ)
        end = begin + case.end
        text = " ".join(words.strip() for words in self.items.values() if words)
        pauses = [(stop - start) // _STEP for start, stop in case.pauses]
        outcome = Outcome(case.name, pauses, [*self.items.values()], text, errors=self.errors)
        errors = wer([(case.text, text)])
        outcome.word_error_rate = round(errors.edits / max(1, errors.words), 3)
        heard = np.abs(self.playout.timeline(end)) > AUDIBLE
        again = begin + case.pauses[0][1]
        outcome.into_ms = round(float(_loud_ms(heard[again:end])), 1)
        starts = [
            at
            for item in sorted({piece.item_id for piece in self.playout.pieces} & self.kept)
            if (at := self.playout.first_audible(item)) is not None
        ]
        after = sorted(at for at in starts if at > end)
        outcome.answers_after = len(after)
        outcome.delay_ms = round((after[0] - end) / _STEP, 1) if after else None
        return outcome


def _loud_ms(heard: NDArray[np.bool_]) -> int:
    """Milliseconds, in steps of 10, in which an answer was audible."""
    step = 10 * _STEP
    whole = heard[: len(heard) // step * step].reshape(-1, step)
    return int(whole.any(axis=1).sum()) * 10


async def hold(url: str, case: Case, seed: int) -> Outcome:
    """Hold one call."""
    talk, loop = Talk(case), asyncio.get_running_loop()
    client = await connect(url, key=os.environ.get("DUPLEX_API_KEY"))
    await set_up(client, SessionOptions(instructions="Answer in one or two short sentences."))
    noise = np.random.default_rng(seed)
    lead = np.zeros(round(LEAD_S * SAMPLE_RATE_HZ), np.float32)
    said = np.concatenate([lead, case.samples])
    began_s = loop.time()

    def now() -> int:
        return round((loop.time() - began_s) * SAMPLE_RATE_HZ)

    async def follow() -> None:
        while True:
            received = await client.receive()
            talk.take(received.event, round((received.at_s - began_s) * SAMPLE_RATE_HZ))

    following = asyncio.create_task(follow())
    end = len(lead) + case.end
    position = 0
    while True:
        chunk = said[position : position + CHUNK_SAMPLES]
        chunk = np.concatenate([chunk, np.zeros(CHUNK_SAMPLES - len(chunk), np.float32)])
        await client.append(
            (chunk + noise.normal(0, 10 ** (-65 / 20), CHUNK_SAMPLES)).astype(np.float32)
        )
        position += CHUNK_SAMPLES
        await asyncio.sleep(max(0.0, began_s + position / SAMPLE_RATE_HZ - loop.time()))
        waited_s = (position - end) / SAMPLE_RATE_HZ
        quiet = now() - max(talk.last, talk.playout.end, end)
        is_answered = talk.playout.end > end and not talk.busy
        if waited_s > PATIENCE_S or (is_answered and quiet > SETTLED_S * SAMPLE_RATE_HZ):
            break
        if following.done():
            break
    following.cancel()
    await asyncio.wait([following])
    await client.close()
    return talk.outcome()


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The counts over some cases."""
    delays = sorted(o.delay_ms for o in outcomes if o.delay_ms is not None)
    return {
        "cases": len(outcomes),
        "split": sum(len(o.items) > 1 for o in outcomes),
        "sounded_into": sum(o.into_ms > 0 for o in outcomes),
        "sounded_into_ms": [o.into_ms for o in outcomes if o.into_ms > 0],
        "right_and_one": sum(o.is_right for o in outcomes),
        "mean_word_error_rate": round(statistics.mean(o.word_error_rate for o in outcomes), 3),
        "answered_once": sum(o.answers_after == 1 for o in outcomes),
        "delay_p50_ms": statistics.median(delays) if delays else None,
        "delay_max_ms": delays[-1] if delays else None,
        "errors": sum(len(o.errors) for o in outcomes),
    }


async def main() -> None:
    """Run the benchmark; print the counts, and write them with each outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="127.0.0.1:8765", help="a running server")
    parser.add_argument("--speech", type=Path, help="recordings with a manifest.jsonl")
    parser.add_argument("--limit", type=int, default=20, help="cases of each kind")
    parser.add_argument("--cache", type=Path, default=Path("out/voices"), help="of what is said")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kinds = {"halves": synthetic(options.cache)[: options.limit]}
    if options.speech is not None:
        kinds["people"] = people(options.speech, options.limit)
    report: dict[str, Any] = {}
    for kind, cases in kinds.items():
        outcomes = []
        for seed, case in enumerate(cases):
            outcomes.append(await hold(address_of(options.url), case, seed))
            print(json.dumps(asdict(outcomes[-1])), flush=True)
        report[kind] = {**summary(outcomes), "outcomes": [asdict(o) for o in outcomes]}
    report["load"] = os.getloadavg()
    report["chunk_ms"] = CHUNK_MS
    for kind in kinds:
        print(kind, {key: value for key, value in report[kind].items() if key != "outcomes"})
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
