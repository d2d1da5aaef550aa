"""A spoken conversation over WebRTC with real models: a Chromium hears a question from its
microphone's file, and what it plays is heard again by the ear."""

import base64
import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from duplex.audio.resample import resample
from duplex.cli.recordings import speaker
from duplex.config import Config
from engine.ear.whisper import WhisperEar
from tests._support.browser import browser, write_wav
from tests._support.served import real_server
from tests._support.webrtc import Network
from tests._support.webrtc_page import page_served
from tests.stock_clients.test_webrtc_clients import BUNDLE, HERE, pytestmark, secret

pytestmark = [*pytestmark, pytest.mark.timeout(900)]
FILES = {
    "/": HERE / "browser/page.html",
    "/drive.js": HERE / "browser/drive.js",
    "/agents.js": BUNDLE,
}


@pytest.mark.parametrize("client", ["agents", "peer"])
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_a_question_is_answered_aloud(
    client: str, loss: float, tmp_path: Path, models: Any
) -> None:
    network = Network(loss=loss, jitter_s=0.06 if loss else 0.0)
    question = speaker(Config())("What is the capital of France?")
    silence = np.zeros(24_000, np.float32)
    path = tmp_path / "question.wav"
    write_wav(path, np.concatenate([*[silence] * 6, question, *[silence] * 40]))
    with real_server() as address, page_served(FILES, network) as page_address:
        options = ("--autoplay-policy=no-user-gesture-required",)
        with browser(page_address, microphone=path, arguments=options) as page:
            page.driver.set_script_timeout(120)
            page.driver.get(f"{page_address}/")
            url = f"{address}/v1/realtime"
            through = f"{page_address}/relay?to={url}/calls"
            script = (
                "const [client, url, secret, done] = arguments;"
                "converse(client, url, secret, 1).then(done, (e) => done({failed: String(e)}));"
            )
            told = page.driver.execute_async_script(script, client, through, secret(url, ""))
    assert "failed" not in told, told
    print(client, loss, told["said"], told["answers"], network.passed, network.lost)
    assert "capital of France" in " ".join(told["said"])
    assert "Paris" in " ".join(told["answers"])
    heard = WhisperEar(models("whisper-tiny.en"), threads=2).transcribe(played(told["recording"]))
    print("heard again:", heard)
    # The small ear takes "Paris" for "purse" at times.
    assert "capital" in heard or "France" in heard, heard


def played(recording: str) -> NDArray[np.float32]:
    """16 kHz of a browser's recording."""
    with av.open(io.BytesIO(base64.b64decode(recording))) as file:
        frames = [frame.to_ndarray() for frame in file.decode(audio=0)]
        rate_hz = file.streams.audio[0].rate
    samples = np.concatenate(frames, axis=-1)
    return resample(samples.reshape(-1, samples.shape[-1])[0].astype(np.float32), rate_hz, 16_000)
