"""A call in German, and one in French, from ear to voice: Whisper base, the default brain, and
espeak-ng, which is also the caller's voice. Whisper does not understand all that it says."""

import base64
import ctypes.util
import difflib
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from openai import AsyncOpenAI

from duplex.app import build
from duplex.app.server import DialogueServer, address
from duplex.audio.resample import resample
from duplex.config import Config, EarConfig, LimitsConfig, ServerConfig, VoiceConfig
from duplex.dialogue.parts import Parts
from duplex.model_store import Progress
from engine.ear.whisper import WhisperEar
from tests._support.servers import NO_KEYS
from tts.espeak.voice import EspeakVoice

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="no espeak-ng"),
]
CONFIG = Config(
    server=ServerConfig(port=0),
    limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),  # a busy machine refuses nobody
    ear=EarConfig(model="whisper-base", language="de"),
    voice=VoiceConfig(model="espeak/de", others=("espeak/fr",)),
)
WIRE_HZ, EAR_HZ = 24_000, 16_000


@pytest.fixture(scope="module")
def spoken_parts() -> Parts:
    return build.load(CONFIG, build.open_store(CONFIG), Progress(None))


@pytest.fixture(scope="module")
def ear() -> WhisperEar:
    return WhisperEar(build.open_store(CONFIG).path("whisper-base"), language=None)


def speech(text: str, language: str, rate_hz: int, speed: float = 1.0) -> NDArray[np.float32]:
    voice = EspeakVoice(language)
    samples = np.concatenate([chunk.samples for chunk in voice.synthesize(text, speed)])
    return resample(samples, voice.sample_rate, rate_hz)


def likeness(text: str, other: str) -> float:
    """From 0 to 1: how many letters and figures are the same, in their order."""
    one, two = (re.sub(r"\W", "", each.lower()) for each in (text, other))
    return difflib.SequenceMatcher(None, one, two).ratio()


async def asked(parts: Parts, question: str, language: str) -> tuple[str, str, NDArray[np.float32]]:
    """What was heard, what is answered, and its sound at `EAR_HZ`."""
    said = speech(question, language, WIRE_HZ, 0.9)
    pcm = np.concatenate([np.zeros(12_000, np.float32), said, np.zeros(48_000, np.float32)])
    audio = base64.b64encode((32767 * pcm).astype("<i2").tobytes()).decode()
    heard, answer, sound = "", "", bytearray()
    async with DialogueServer(CONFIG, parts, keys=NO_KEYS).listen() as listening:
        base = address(listening).removesuffix("/realtime")
        async with (
            AsyncOpenAI(api_key="unused", websocket_base_url=base) as client,
            client.realtime.connect(model="any") as call,
        ):
            transcription = {"model": "whisper-1", "language": language}
            sides: Any = {
                "input": {"transcription": transcription},
                "output": {"voice": f"espeak/{language}"},
            }
            await call.session.update(session={"type": "realtime", "audio": sides})
            await call.input_audio_buffer.append(audio=audio)
            async for event in call:
                match event.type:
                    case "conversation.item.input_audio_transcription.completed":
                        heard = event.transcript
                    case "response.output_audio_transcript.delta":
                        answer += event.delta
                    case "response.output_audio.delta":
                        sound += base64.b64decode(event.delta)
                    case "error":
                        pytest.fail(event.error.message)
                    case "response.done":
                        break
    samples = np.frombuffer(bytes(sound), "<i2").astype(np.float32) / np.float32(32768)
    return heard, answer, resample(samples, WIRE_HZ, EAR_HZ)


async def test_a_german_question_has_a_german_answer(spoken_parts: Parts, ear: WhisperEar) -> None:
    """The brain is small: what it says of France may be wrong, but it is German."""
    question = "Was ist die Hauptstadt von Frankreich?"
    heard, answer, sound = await asked(spoken_parts, question, "de")
    assert likeness(heard, question) > 0.7, heard
    assert re.search(r"\b(?:ist|Hauptstadt|Die|die|der)\b", answer)
    assert len(sound) == pytest.approx(len(speech(answer, "de", EAR_HZ)), rel=0.3)
    written = ear.hear(sound, "de", "de").text
    assert likeness(written, answer) > 0.4, (written, answer)


async def test_a_french_question_has_a_french_answer(spoken_parts: Parts) -> None:
    heard, answer, sound = await asked(spoken_parts, "Quelle est la capitale de la France ?", "fr")
    assert likeness(heard, "Quelle est la capitale de la France") > 0.9
    assert re.search(r"\b(?:est|la|le|capitale)\b", answer)
    as_spoken = speech(answer, "fr", EAR_HZ)
    assert len(sound) == pytest.approx(len(as_spoken), rel=0.3)


def test_numbers_are_understood_as_they_were_written(ear: WhisperEar) -> None:
    """Spoken as words, and written by Whisper as figures again. espeak-ng's breath is drawn anew
    each time, and Whisper base is not used to its voice."""
    text = "Der Zug fährt um 14:30, das sind 3,5 Prozent von 21."
    written = [ear.hear(speech(text, "de", EAR_HZ, 0.9), "de", "de").text for _ in range(6)]
    figures = [re.findall(r"\d+", each) for each in written]
    assert ["14", "30", "3", "5", "21"] in figures, written


def test_the_server_knows_what_its_voices_speak(spoken_parts: Parts) -> None:
    assert spoken_parts.voice_languages == {"de", "fr"}
