"""A real Chromium without a window, whose microphone is a wav file."""

import base64
import contextlib
import shutil
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

# A microphone into which a test speaks when it likes: a recording would go on whatever the page and
# the server have come to meanwhile.
_MOUTH = """
const context = new AudioContext({ sampleRate: 24000 });
const mouth = context.createMediaStreamDestination();
navigator.mediaDevices.getUserMedia = async () => {
  await context.resume();
  return mouth.stream.clone();
};
globalThis.duplexSay = (audio) => {
  const pcm = new Int16Array(Uint8Array.from(atob(audio), (c) => c.charCodeAt(0)).buffer);
  const buffer = context.createBuffer(1, pcm.length, 24000);
  buffer.getChannelData(0).set(Float32Array.from(pcm, (sample) => sample / 32768));
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(mouth);
  source.start();
};
"""
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


class Page:
    """The page in a browser. Waits are for conditions; ``timeout_s`` only bounds a failure."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        self.address = address

    def open(self, query: str = "?probe") -> None:
        """Load the page afresh."""
        self.driver.get(f"{self.address}/{query}")
        self.until(lambda: self.js("return document.body.dataset.activity") == "idle", "the page")

    def js(self, script: str, *arguments: Any) -> Any:
        """Run ``script`` in the page."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        """The first element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """All elements."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        """Click the first element."""
        self.find(selector).click()

    def texts(self, selector: str) -> list[str]:
        """The text of all elements that are seen."""
        script = """return [...document.querySelectorAll(arguments[0])]
            .filter((e) => e.checkVisibility()).map((e) => e.textContent.trim())"""
        texts: list[str] = self.js(script, selector)
        return texts

    def resize(self, width: int | None, height: int = 0) -> None:
        """Make it as large as a phone's, which windows cannot be; None: as the window is."""
        if width is None:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            return
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def activity(self) -> str:
        """What the call does, as the page shows it."""
        return str(self.js("return document.body.dataset.activity"))

    def say(self, samples: NDArray[np.floating[Any]]) -> None:
        """Speak, 24 kHz, in a call of a browser that was opened with a mouth; returns at once."""
        audio = base64.b64encode(_pcm16(samples)).decode()
        self.js("duplexSay(arguments[0])", audio)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a type so far, of a page that was opened with a probe."""
        script = "return duplexTest.events.filter((e) => e.type === arguments[0])"
        events: list[dict[str, Any]] = self.js(script, kind)
        return events

    def recording(self, direction: str) -> tuple[int, NDArray[np.float32]]:
        """The rate and the samples that the microphone gave ("in") or the page played ("out"),
        on one clock."""
        told = self.js("return duplexTest.recording(arguments[0])", direction)
        pcm = np.frombuffer(base64.b64decode(told["audio"]), "<i2")
        return told["rate_hz"], pcm.astype(np.float32) / np.float32(32768)

    def until(
        self,
        condition: Callable[[], Any],
        what: str,
        timeout_s: float = 120.0,
        step_s: float = 0.05,
    ) -> Any:
        """Wait for a condition, and return what it gave."""
        end = time.monotonic() + timeout_s
        while not (found := condition()):
            if time.monotonic() > end:
                text = self.js("return document.body.innerText")
                logs = [entry["message"] for entry in self.driver.get_log("browser")]
                raise AssertionError(f"in vain for {what}; the page: {text[-600:]!r}; {logs}")
            time.sleep(step_s)
        return found


def write_wav(path: Path, samples: NDArray[np.floating[Any]]) -> None:
    """Write mono samples of 24 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(_pcm16(samples))


def _pcm16(samples: NDArray[np.floating[Any]]) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


@contextlib.contextmanager
def browser(
    address: str,
    *,
    microphone: Path | None = None,
    allowed: bool = True,
    has_microphone: bool = True,
    mouth: bool = False,
    size: tuple[int, int] = (1200, 900),
    arguments: tuple[str, ...] = (),
) -> Iterator[Page]:
    """A page of the server at ``address``. Without a wav file the microphone hears silence; with
    a ``mouth``, what `Page.say` is given."""
    options = Options()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    switches = [
        "--headless=new",
        "--no-sandbox",  # CI runs as root
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        f"--window-size={size[0]},{size[1]}",
        *arguments,
    ]
    if has_microphone:
        switches.append("--use-fake-device-for-media-stream")
    if allowed:
        switches.append("--use-fake-ui-for-media-stream")
    else:
        switches.append("--deny-permission-prompts")
    if microphone is None:  # the fake device would beep
        microphone = Path(tempfile.gettempdir()) / "duplex-silence.wav"
        write_wav(microphone, np.zeros(24_000))
    if has_microphone:
        switches.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    for switch in switches:
        options.add_argument(switch)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        if mouth:
            script = {"source": _MOUTH}
            driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
        yield Page(driver, address)
    finally:
        driver.quit()
