"""A real softphone asks real models aloud and hears them answer, over a good line and a bad one."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aiosipua", reason="SIP needs the extra 'sip'")

from duplex.app.server import DialogueServer
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.cli import recordings
from duplex.config import AssistantConfig, Config, ServerConfig, SipConfig
from duplex.dialogue.parts import Parts
from duplex.server.keys import load_keys
from engine.ear.whisper import WhisperEar
from tests._support import softphone as phones
from tests._support.impaired import Network
from tests._support.softphone import call, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not phones.is_here, reason="no softphone: apt-get install baresip-core has one"
    ),
]

RATE_HZ = phones.RATE_HZ
CONFIG = Config(
    server=ServerConfig(port=0),
    sip=SipConfig(enabled=True, listen="127.0.0.1:0"),
    assistants={"bot": AssistantConfig()},
)


@pytest.fixture(scope="module")
def question() -> Samples:
    spoken = recordings.speaker(CONFIG)("How many days are there in a week?")
    said = resample(spoken, recordings.CLIENT_HZ, RATE_HZ)
    return np.concatenate([np.zeros(RATE_HZ, np.float32), said, np.zeros(60 * RATE_HZ, np.float32)])


@pytest.mark.parametrize(
    ("codec", "network"),
    [
        ("PCMU", Network()),
        ("PCMA", Network(loss=0.05, jitter_s=0.06, sip_loss=0.05)),
    ],
    ids=["pcmu", "pcma-bad-line"],
)
async def test_a_question_is_asked_and_answered_aloud(
    tmp_path: Path,
    question: Samples,
    ear: WhisperEar,
    parts: Parts,
    codec: str,
    network: Network,
) -> None:
    server = DialogueServer(CONFIG, parts, keys=load_keys(CONFIG.access, {}))
    async with server.listen():
        assert server.sip is not None
        async with call(
            server.sip.address, tmp_path, question, codec=codec, network=network
        ) as phone:
            await until(lambda: spoken_s(phone.heard()) > 0.6)
            # Longer than a busy machine pauses within an answer.
            await until(lambda: quiet_s(phone.heard()) > 3)
            heard = phone.heard()
            phone.command("hangup")
            await phone.wait_for("CALL_CLOSED")
    text = ear.transcribe(resample(heard, RATE_HZ, 16_000))
    print(text, network.lost, network.passed)
    assert "seven" in text.lower() or "7" in text


def spoken_s(samples: Samples) -> float:
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    return float((np.abs(frames).max(axis=1, initial=0) > 0.02).sum() * 0.02)


def quiet_s(samples: Samples) -> float:
    """For how long nothing was heard at the end."""
    audible = np.flatnonzero(np.abs(samples) > 0.02)
    return (len(samples) - 1 - int(audible[-1])) / RATE_HZ if len(audible) else 0.0
