"""A PulseAudio of the test's own: a loudspeaker that can be recorded, a microphone to speak into.

Both are null sinks; an application that plays by default is heard in ``loudspeaker`` and records
what is played to ``microphone``. ALSA, and so PortAudio, reaches them through its pulse plugin.
"""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from duplex.audio.formats import encode_pcm16

RATE = 24_000
PATIENCE_S = 120.0
LOUD = 0.02
QUIET_S = 0.4  # so long without a loud sample is silence, not a gap between words
MISSING = [name for name in ("pulseaudio", "pactl", "pacat", "parec") if not shutil.which(name)]
PLUGIN = next(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so"), None)
LACKING = [name for name in ("pyaudio", "livekit") if find_spec(name) is None]
UNAVAILABLE = (
    f"needs the extra `mic`: {LACKING} not installed"
    if LACKING
    else ""
    if PLUGIN and not MISSING
    else f"needs PulseAudio and its ALSA plugin: {MISSING}"
)

# norewinds: else a null sink renders two seconds ahead, and a stream of short buffers stalls.
_NULL_SINK = f"module-null-sink norewinds=1 rate={RATE} channels=1 sink_name="
_ALSA = """
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
"""


@dataclass
class Recorder:
    """What sounds in a sink, with the times at which it was delivered."""

    process: subprocess.Popen[bytes]
    chunks: list[tuple[float, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate([samples for _, samples in [*self.chunks]] or [np.zeros(0)])

    def loud_s(self, since_s: float = 0.0) -> list[float]:
        """When it was loud."""
        return [at for at, chunk in [*self.chunks] if at >= since_s and np.abs(chunk).max() > LOUD]

    def is_loud(self) -> bool:
        return bool(self.loud_s(time.monotonic() - QUIET_S))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self._thread.join(60)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while data := self.process.stdout.read(480):
            samples = np.frombuffer(data, "<i2").astype(np.float32) / 32768
            self.chunks.append((time.monotonic(), samples))


@dataclass
class Pulse:
    """A running sound server; ``environment`` leads a program to it."""

    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    loudspeaker: Recorder = field(init=False)
    microphone: Recorder = field(init=False)
    players: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def control(self, *arguments: str) -> str:
        command = ["pactl", *arguments]
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def say(self, samples: np.ndarray) -> subprocess.Popen[bytes]:
        """Play into the microphone; returns at once."""
        command = ["pacat", "--device=microphone", "--latency-msec=20", *_raw()]
        process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.players.append(process)
        assert process.stdin is not None
        process.stdin.write(encode_pcm16(samples))
        process.stdin.close()
        return process

    def record(self, sink: str) -> Recorder:
        command = ["parec", f"--device={sink}.monitor", "--latency-msec=10", *_raw()]
        return Recorder(
            subprocess.Popen(
                command,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        )

    def couple(self, delay_ms: int) -> None:
        """The microphone hears the loudspeaker, as in a room."""
        self.control(
            "load-module",
            "module-loopback",
            "source=loudspeaker.monitor",
            "sink=microphone",
            f"latency_msec={delay_ms}",
        )


def _raw() -> list[str]:
    return ["--raw", "--format=s16le", f"--rate={RATE}", "--channels=1"]


@contextlib.contextmanager
def sound_server(home: Path) -> Iterator[Pulse]:
    """PulseAudio until the block ends."""
    socket = home / "native"
    alsa = home / "asound.conf"
    alsa.write_text(_ALSA)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PULSE")},
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "PULSE_SERVER": f"unix:{socket}",
        "ALSA_CONFIG_PATH": str(alsa),
    }
    modules = [
        f"module-native-protocol-unix auth-anonymous=1 socket={socket}",
        f"{_NULL_SINK}loudspeaker",
        f"{_NULL_SINK}microphone",
    ]
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
    command += [f"--load={module}" for module in modules]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    pulse = Pulse(environment, process)
    recorders: list[Recorder] = []
    try:
        wait_for(socket.exists, "PulseAudio does not start")
        pulse.control("set-default-sink", "loudspeaker")
        pulse.control("set-default-source", "microphone.monitor")
        recorders += [pulse.record(name) for name in ("loudspeaker", "microphone")]
        pulse.loudspeaker, pulse.microphone = recorders
        yield pulse
    finally:
        process.terminate()
        process.wait(60)
        for recorder in recorders:
            recorder.close()
        for player in pulse.players:
            player.wait(60)


@dataclass
class Terminal:
    """A program with a terminal of its own."""

    process: subprocess.Popen[bytes]
    descriptor: int
    screen: str = ""

    def press(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def shows(self, text: str, times: int = 1) -> bool:
        return self.screen.count(text) >= times

    def modes(self) -> list[object]:
        return termios.tcgetattr(self.descriptor)

    def read(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(self.descriptor, 4096):
                self.screen += data.decode("utf-8", "replace").replace("\r\n", "\n")


@contextlib.contextmanager
def talking(pulse: Pulse, *arguments: str) -> Iterator[Terminal]:
    """``duplex talk`` with ``arguments`` until the block ends."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "duplex", "talk", *arguments],
        env=pulse.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    terminal = Terminal(process, ours)
    reader = threading.Thread(target=terminal.read, daemon=True)
    reader.start()
    try:
        yield terminal
    finally:
        process.kill()
        process.wait(60)
        reader.join(60)
        os.close(ours)


def wait_for(condition: Callable[[], object], failure: str) -> None:
    """Wait for what another process does.

    Raises:
        AssertionError: it does not.
    """
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s, failure
        time.sleep(0.02)
