"""The page in a real Chromium that asks aloud: how soon it is heard, and how soon it is silent.

    python -m benchmarks.server.browser [--turns N] [--interruptions N] [--out FILE] [--shots DIR]

The microphone is a wav file of questions in the project's own voice. What it gave and what the page
played are recorded on one clock, that of the browser's sound, so the figures do not depend on what
the page says of itself. A headless Chromium has no sound card: what one would add is its
``outputLatency``. ``--shots`` writes the pictures of the README instead of measuring.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.bench.machine import source_commit, this_machine
from client.bench.questions import load_questions, record
from client.bench.server_process import serving
from duplex.cli.recordings import server_command, speaker
from duplex.config import Config
from duplex.metrics import percentile
from tests._support.browser import Page, browser, write_wav

ROOT = Path(__file__).parents[2]

Samples = NDArray[np.float32]
OUT = Path(__file__).parents[1] / "results" / "browser.json"
RATE_HZ = 24_000
LEAD_S = 3.0  # before the first question: the call is set up
ANSWER_S = 8.0  # after a question
INTRUDE_S = 4.0  # after a question that gets a long answer
LOUD = 0.01  # of the microphone's recording, and AUDIBLE of what was played
AUDIBLE = 0.003
JOINED_S = 1.5  # what is less far apart was said at a time
GONE_S = 0.3  # silent for so long: the answer has stopped


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``--out``, or take pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--interruptions", type=int, default=10)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--shots", type=Path, help="take pictures into this directory")
    parser.add_argument("--server", action="append", default=[], help="an argument of duplex serve")
    options = parser.parse_args(arguments)
    asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        recordings = Recordings(Path(scratch))
        async with serving(server_command(options.server)) as server:
            address = server.url.replace("ws", "http", 1).removesuffix("/v1/realtime")
            if options.shots:
                await asyncio.to_thread(take_pictures, address, recordings, options.shots)
                return
            result = await asyncio.to_thread(measure, address, recordings, options)
    result |= {"machine": asdict(this_machine()), "commit": source_commit()}
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


class Recordings:
    """Wav files of what the caller says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._speak = speaker(Config())

    def join(self, name: str, spoken: Sequence[tuple[Samples, float]]) -> tuple[Path, float]:
        """A file of recordings, each with the seconds after it; and how long it lasts."""
        parts = [np.zeros(int(LEAD_S * RATE_HZ), np.float32)]
        for samples, after_s in spoken:
            parts += [samples, np.zeros(int(after_s * RATE_HZ), np.float32)]
        whole = np.concatenate(parts)
        write_wav(self._folder / f"{name}.wav", whole)
        return self._folder / f"{name}.wav", len(whole) / RATE_HZ

    def say(self, text: str) -> Samples:
        """The project's voice."""
        return self._speak(text)

    def questions(self, count: int) -> tuple[Path, float]:
        """Questions, and time to answer them."""
        asked = islice(cycle(load_questions().ordinary), count)
        spoken = [(record(question, self._speak).samples, ANSWER_S) for question in asked]
        return self.join("questions", spoken)

    def interruptions(self, count: int) -> tuple[Path, float]:
        """Questions whose long answers are interrupted."""
        texts = load_questions()
        spoken = []
        for question, intrusion in islice(
            zip(cycle(texts.talkative), cycle(texts.interruptions), strict=False), count
        ):
            spoken.append((record(question, self._speak).samples, INTRUDE_S))
            spoken.append((record(intrusion, self._speak).samples, ANSWER_S))
        return self.join("interruptions", spoken)


def measure(address: str, recordings: Recordings, options: argparse.Namespace) -> dict[str, Any]:
    """Hold both calls."""
    with_questions = hold(address, *recordings.questions(options.turns))
    with_interruptions = hold(address, *recordings.interruptions(options.interruptions))
    return {
        "chromium": with_questions["browser"],
        "context_hz": with_questions["rate_hz"],
        "output_latency_ms": with_questions["output_latency_ms"],
        "first_packet_to_first_sound_ms": figures(with_questions["packet_to_sound_ms"]),
        "first_packet_to_first_sample_ms": figures(with_questions["packet_to_sample_ms"]),
        "voice_to_voice_ms": figures(voice_to_voice_ms(with_questions)),
        "voice_to_voice_as_the_page_says_ms": figures(with_questions["said_ms"]),
        "underruns": with_questions["underruns"],
        "interruption_to_silence_ms": figures(stops_ms(with_interruptions)),
    }


def hold(address: str, microphone: Path, lasts_s: float) -> dict[str, Any]:
    """One call, as long as the file; what was recorded of it."""
    with browser(address, microphone=microphone) as page:
        page.open()
        page.click("#talk")
        sent = "return duplexTest.call.sentSamples"
        page.until(lambda: page.js(sent) > lasts_s * RATE_HZ, "the end", lasts_s + 60, 1.0)
        rate_hz, heard = page.recording("in")
        _, played = page.recording("out")
        answers = page.js("return duplexTest.state().entries.filter((e) => e.kind === 'answer')")
        timed = [answer["client"] for answer in answers if "audible" in answer["client"]]
        context = "return duplexTest.call.sound."
        return {
            "browser": page.driver.capabilities["browserVersion"],
            "rate_hz": rate_hz,
            "heard": heard,
            "played": played,
            "output_latency_ms": round(1000 * page.js(context + "outputLatencyS"), 1),
            "underruns": page.js("return duplexTest.underruns"),
            "packet_to_sound_ms": [marks["audible"] - marks["received"] for marks in timed],
            "packet_to_sample_ms": [marks["started"] - marks["received"] for marks in timed],
            "said_ms": [
                answer["client"]["audible"] - answer["turn"]["at_ms"]
                for answer in answers
                if "audible" in answer["client"] and answer["turn"] and answer["turn"]["at_ms"]
            ],
        }


def utterances(samples: Samples, rate_hz: int, loud: float = LOUD) -> list[tuple[int, int]]:
    """First and last sample of what was said at a time."""
    at = np.flatnonzero(np.abs(samples) > loud)
    if not len(at):
        return []
    cuts = np.flatnonzero(np.diff(at) > JOINED_S * rate_hz)
    firsts = at[np.concatenate([[0], cuts + 1])]
    lasts = at[np.concatenate([cuts, [len(at) - 1]])]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def voice_to_voice_ms(call: dict[str, Any]) -> list[float]:
    """From each question's last loud sample to the next that was played."""
    rate_hz, played = call["rate_hz"], call["played"]
    audible = np.flatnonzero(np.abs(played) > AUDIBLE)
    found = []
    said = utterances(call["heard"], rate_hz)
    for (_, last), following in zip(said, [*said[1:], (len(played), 0)], strict=True):
        after = audible[(audible > last) & (audible < following[0])]
        if len(after) and np.abs(played[max(0, last - rate_hz // 5) : last]).max() < AUDIBLE:
            found.append(1000 * (after[0] - last) / rate_hz)
    return found


def stops_ms(call: dict[str, Any]) -> list[float]:
    """From each onset during an answer to the answer's last audible sample."""
    rate_hz, played = call["rate_hz"], call["played"]
    audible = np.flatnonzero(np.abs(played) > AUDIBLE)
    found = []
    for first, _ in utterances(call["heard"], rate_hz):
        after = audible[audible > first]
        soon = after[after < first + rate_hz // 5]
        if len(soon) < rate_hz // 100:  # nothing was being said, or it paused: what follows is new
            continue
        gaps = np.flatnonzero(np.diff(after) > GONE_S * rate_hz)
        last = after[gaps[0]] if len(gaps) else after[-1]
        found.append(1000 * (last - first) / rate_hz)
    return found


def figures(values: Sequence[float]) -> dict[str, Any]:
    """What is told of a row of times."""
    if not values:
        return {"count": 0}
    p50, p95 = (round(percentile(values, share), 1) for share in (0.5, 0.95))
    return {"count": len(values), "p50": p50, "p95": p95, "all": [round(v, 1) for v in values]}


def take_pictures(address: str, recordings: Recordings, folder: Path) -> None:
    """The pictures of the README: real models, a real browser."""
    folder.mkdir(parents=True, exist_ok=True)
    spoken = [
        (recordings.say("What is the capital of France?"), 5.0),
        (recordings.say("Tell me three things that I should see there."), 12.0),
    ]
    microphone, _ = recordings.join("talk", spoken)
    with browser(address, microphone=microphone) as page:
        for name, theme in (("light", "light"), ("dark", "dark")):
            _look(page, theme)
            _talk(page, folder / f"browser-{name}.png")
        page.resize(390, 844)
        _look(page, "light")
        _talk(page, folder / "browser-phone.png")
    with browser(address, allowed=False) as page:
        page.resize(390, 844)
        _look(page, "dark")
        page.open()
        page.click("#talk")
        page.until(lambda: page.texts("#problem"), "the problem")
        page.driver.save_screenshot(str(folder / "browser-no-microphone.png"))


def _look(page: Page, theme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def _talk(page: Page, picture: Path) -> None:
    """Ask twice; the picture is of the second answer while it is given."""
    page.open()
    page.click("#talk")
    page.until(lambda: len(page.texts(".answer .heard")) == 2, "the second answer")
    page.until(lambda: len(page.texts(".answer .heard")[1]) > 30, "some of it")
    page.js("document.querySelector('.timing').open = true")
    page.js("document.querySelector('#stage').scrollTop = 1e6")
    page.driver.save_screenshot(str(picture))
    page.js("duplexTest.call.hangUp()")


if __name__ == "__main__":
    main()
