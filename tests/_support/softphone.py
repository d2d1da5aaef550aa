"""A real softphone: baresip as a process, which plays a WAV file as its microphone, records what
it hears, and is told over a socket what to do."""

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np

from duplex.audio.files import write_wav
from duplex.audio.formats import Samples, decode_pcm16
from tests._support.impaired import Address, Network, impaired

MODULES = Path("/usr/lib/baresip/modules")
RATE_HZ = 8_000
_WAIT_S = 90.0
_HEADER_BYTES = 44

is_here = shutil.which("baresip") is not None and (MODULES / "g711.so").exists()


class Softphone:
    """One baresip. ``events`` is all that it told, in order."""

    def __init__(self, directory: Path, control: tuple[Any, Any], console_port: int) -> None:
        self._directory = directory
        self._console_port = console_port
        self._reader, self._writer = control
        self._told = asyncio.Condition()
        self.events: list[dict[str, Any]] = []

    async def read(self) -> None:
        """Keep what it tells, until it ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int((await self._reader.readuntil(b":"))[:-1])
                message = json.loads((await self._reader.readexactly(length + 1))[:-1])
                async with self._told:
                    self.events.append(message)
                    self._told.notify_all()

    def command(self, name: str, parameters: str = "") -> None:
        """Tell it to do something: dial, hangup, sndcode, quit."""
        text = json.dumps({"command": name, "params": parameters}).encode()
        self._writer.write(b"%d:%s," % (len(text), text))

    def press(self, key: str) -> None:
        """What has no command: x holds the call, X takes it up again."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as console:
            console.sendto(key.encode(), ("127.0.0.1", self._console_port))

    async def wait_for(self, kind: str) -> dict[str, Any]:
        """Wait until it tells an event of that type, if it has not, and return it."""

        def told() -> list[dict[str, Any]]:
            return [event for event in self.events if event.get("type") == kind]

        async with asyncio.timeout(_WAIT_S), self._told:
            await self._told.wait_for(told)
        return told()[0]

    @property
    def kinds(self) -> list[str]:
        """The types of what it told."""
        return [event["type"] for event in self.events if "type" in event]

    def heard(self) -> Samples:
        """What it has recorded of the other side so far, at 8 kHz."""
        recording = b"".join(p.read_bytes() for p in self._directory.glob("dump-*-dec.wav"))
        data = recording[_HEADER_BYTES:]  # whose header tells its length only when it is closed
        return decode_pcm16(data[: len(data) // 2 * 2])


@contextlib.asynccontextmanager
async def softphone(
    directory: Path, microphone: Samples, *, codec: str = "PCMU", password: str = "", user: str = ""
) -> AsyncIterator[Softphone]:
    """Run baresip while the block runs; ``microphone`` is what it says, at 8 kHz."""
    write_wav(directory / "microphone.wav", microphone, RATE_HZ)
    port, console_port = _free_port(), _free_port()
    (directory / "config").write_text(
        f"""poll_method epoll
sip_listen 127.0.0.1:0
net_interface 127.0.0.1
audio_source aufile,{directory}/microphone.wav
audio_player aubridge,ear
audio_alert aubridge,bell
ausrc_srate {RATE_HZ}
auplay_srate {RATE_HZ}
jitter_buffer_delay 3-10
snd_path {directory}
module_path {MODULES}
module g711.so
module sndfile.so
module aubridge.so
module aufile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{port}
module cons.so
cons_listen 127.0.0.1:{console_port}
"""
    )
    account = f"<sip:{user or 'caller'}@127.0.0.1>;regint=0;audio_codecs={codec};call_transfer=yes"
    if password:
        account += f";auth_user={user};auth_pass={password}"
    (directory / "accounts").write_text(account + "\n")
    (directory / "contacts").write_text("")
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "baresip",
            "-f",
            str(directory),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            reader, writer = await _connect(port, process)
            phone = Softphone(directory, (reader, writer), console_port)
            reading = asyncio.create_task(phone.read())
            try:
                yield phone
                phone.command("quit")
                await asyncio.wait_for(process.wait(), _WAIT_S)
            finally:
                reading.cancel()
                await asyncio.wait([reading])
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@contextlib.asynccontextmanager
async def call(
    server: Address,
    directory: Path,
    microphone: Samples,
    *,
    codec: str = "PCMU",
    network: Network | None = None,
) -> AsyncIterator[Softphone]:
    """A softphone in a call with the assistant ``bot`` of a server, over a network."""
    async with (
        impaired(server, network or Network()) as port,
        softphone(directory, microphone, codec=codec) as phone,
    ):
        phone.command("dial", f"sip:bot@127.0.0.1:{port}")
        await phone.wait_for("CALL_ESTABLISHED")
        yield phone


async def until(condition: Callable[[], object], patience_s: float = 120.0) -> None:
    """Wait for what the real network and the softphone do."""
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.05)


def loud_s(samples: Samples) -> float:
    """For how long something is heard, in seconds."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    return float((np.abs(frames).mean(axis=1) > 0.05).sum() * 0.02)


async def _connect(port: int, process: asyncio.subprocess.Process) -> tuple[Any, Any]:
    async with asyncio.timeout(_WAIT_S):
        while True:
            assert process.returncode is None, "baresip has ended"
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
