"""PyAudio (PortAudio) as a sound card. The only place that knows it."""

import contextlib
import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from client.live.devices import Device, DeviceError, Direction, choose
from client.live.soundcard import Capture, InputFormat, OutputFormat, Render
from client.realtime import CHUNK_MS, SAMPLE_RATE_HZ

# PulseAudio's and PipeWire's ALSA plugin stutter below this.
BUFFER_MS = CHUNK_MS
OTHER_RATES_HZ = (48_000, 44_100, 16_000)  # tried after 24 kHz and the device's own
CLOSE_S = 2.0  # a device that has gone may never answer
SILENT_FOR_S = 3.0  # a microphone that gives nothing for so long has gone
INSTALL = (
    "the microphone needs PyAudio, which is not installed:\n"
    "  Debian, Ubuntu:  apt-get install portaudio19-dev gcc python3-dev\n"
    "  macOS:           brew install portaudio\n"
    "then              pip install 'duplex-r1[mic]'"
)


def _load() -> Any:
    try:
        import pyaudio
    except ImportError as error:  # the package, or the library that it is linked with
        raise DeviceError(f"{INSTALL}\n({error})") from error
    return pyaudio


class PortAudio:
    """The sound system; ``devices`` lists what it has.

    Raises:
        DeviceError: PyAudio or PortAudio is missing.
    """

    def __init__(self) -> None:
        self._module = _load()
        self._alsa_handler = _hush_alsa()  # it must outlive what calls it
        with _quiet():
            self._system = self._module.PyAudio()

    def close(self) -> None:
        """Let go of all devices."""
        _within(CLOSE_S, self._system.terminate)

    def devices(self) -> list[Device]:
        """All devices, in the system's order."""
        defaults = {"input": self._default("input"), "output": self._default("output")}
        found = []
        for index in range(self._system.get_device_count()):
            info: Mapping[str, Any] = self._system.get_device_info_by_index(index)
            found.append(
                Device(
                    index=index,
                    name=str(info["name"]),
                    inputs=int(info["maxInputChannels"]),
                    outputs=int(info["maxOutputChannels"]),
                    rate_hz=round(info["defaultSampleRate"]),
                    default_for=frozenset(
                        direction
                        for direction in ("input", "output")
                        if defaults[direction] == index
                    ),
                )
            )
        return found

    def card(self, wanted_input: str | None, wanted_output: str | None) -> "PyAudioCard":
        """The microphone and loudspeaker so named.

        Raises:
            DeviceError: there is none such.
        """
        devices = self.devices()
        return PyAudioCard(
            self._module,
            self._system,
            choose(devices, "input", wanted_input),
            choose(devices, "output", wanted_output),
        )

    def _default(self, direction: Direction) -> int | None:
        system = self._system
        ask = (
            system.get_default_input_device_info
            if direction == "input"
            else system.get_default_output_device_info
        )
        try:
            return int(ask()["index"])
        except OSError:  # there is none
            return None


class PyAudioCard:
    """Two streams with callbacks; see `client.live.soundcard.SoundCard`."""

    def __init__(self, module: Any, system: Any, source: Device, sink: Device) -> None:
        self.source, self.sink = source, sink
        self._module, self._system = module, system
        self._streams: list[Any] = []
        self._heard_s = 0.0  # when the microphone last gave something
        self._error: str | None = None

    @property
    def input_latency_s(self) -> float:
        """See `SoundCard`."""
        return float(self._streams[0].get_input_latency())

    @property
    def output_latency_s(self) -> float:
        """See `SoundCard`."""
        return float(self._streams[1].get_output_latency())

    def start(self, capture: Capture, render: Render) -> None:
        """See `SoundCard`."""
        go_on = self._module.paContinue
        abort = self._module.paAbort
        rate_in, channels_in = self._format(self.source, "input")
        rate_out, channels_out = self._format(self.sink, "output")
        input_format = InputFormat(rate_in, channels_in)
        output_format = OutputFormat(rate_out, channels_out)

        # What is raised in a callback PortAudio prints and forgets: it is kept for `fault`.
        def hear(data: bytes, frames: int, times: object, status: int) -> tuple[None, int]:
            try:
                self._heard_s = time.monotonic()
                capture(input_format.decode(data))
            except Exception as error:
                self._error = f"the microphone's audio could not be taken: {error!r}"
                return None, abort
            return None, go_on

        def play(data: None, frames: int, times: object, status: int) -> tuple[bytes, int]:
            try:
                return output_format.encode(frames, render), go_on
            except Exception as error:
                self._error = f"the loudspeaker's audio could not be made: {error!r}"
                return bytes(2 * channels_out * frames), abort

        self._heard_s = time.monotonic()
        self._open(self.source, "input", rate_in, channels_in, hear)
        self._open(self.sink, "output", rate_out, channels_out, play)

    def fault(self) -> str | None:
        """See `SoundCard`."""
        if self._error is not None:
            return self._error
        if time.monotonic() - self._heard_s > SILENT_FOR_S:
            return f"the microphone ({self.source.name}) gives no sound any more: was it unplugged?"
        if not self._streams[0].is_active():
            return f"the microphone ({self.source.name}) has stopped: was it unplugged?"
        if not self._streams[1].is_active():
            return f"the loudspeaker ({self.sink.name}) has stopped: was it unplugged?"
        return None

    def close(self) -> None:
        """See `SoundCard`."""
        while self._streams:
            _within(CLOSE_S, self._streams.pop().close)

    def _open(
        self, device: Device, direction: Direction, rate_hz: int, channels: int, callback: Any
    ) -> None:
        try:
            with _quiet():
                stream = self._system.open(
                    format=self._module.paInt16,
                    channels=channels,
                    rate=rate_hz,
                    frames_per_buffer=rate_hz * BUFFER_MS // 1000,
                    stream_callback=callback,
                    **{direction: True, f"{direction}_device_index": device.index},
                )
        except (OSError, ValueError) as error:
            self.close()
            raise DeviceError(f"cannot open {device.name} for {direction}: {error}") from error
        self._streams.append(stream)

    def _format(self, device: Device, direction: Direction) -> tuple[int, int]:
        """The first rate and number of channels that the device takes.

        Raises:
            DeviceError: it takes none.
        """
        for rate_hz in (SAMPLE_RATE_HZ, device.rate_hz, *OTHER_RATES_HZ):
            for channels in (1, 2):
                if channels <= device.channels(direction) and self._takes(
                    device, direction, rate_hz, channels
                ):
                    return rate_hz, channels
        raise DeviceError(f"{device.name} takes no 16 bit {direction} of a rate known here")

    def _takes(self, device: Device, direction: Direction, rate_hz: int, channels: int) -> bool:
        wanted = {
            f"{direction}_device": device.index,
            f"{direction}_channels": channels,
            f"{direction}_format": self._module.paInt16,
        }
        try:
            with _quiet():
                return bool(self._system.is_format_supported(rate_hz, **wanted))
        except ValueError:
            return False


def _hush_alsa() -> Any:
    """ALSA writes a line to standard error at each underrun, into the conversation."""
    kind = ctypes.CFUNCTYPE(
        None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
    )
    handler = kind(lambda *_: None)
    with contextlib.suppress(OSError, AttributeError):  # there is no ALSA
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(handler)
    return handler


def _within(seconds: float, close: Callable[[], None]) -> None:
    """Close something that may hang for ever, as PulseAudio's plugin does when its server has
    gone: then it is left to a thread that does not keep the program from ending."""

    def run() -> None:
        with contextlib.suppress(OSError), _quiet():  # what has gone is closed
            close()

    thread = threading.Thread(target=run, name="closing a sound device", daemon=True)
    thread.start()
    thread.join(seconds)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ALSA and JACK write pages about devices that are not there straight to standard error."""
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    silence = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(silence)
