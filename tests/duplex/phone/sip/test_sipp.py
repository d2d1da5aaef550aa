"""Another's SIP, SIPp, calls a real server without an offer, presses a key by INFO, and holds by a
change without an offer."""

import asyncio
import shutil
from pathlib import Path

import pytest

pytest.importorskip("aiosipua", reason="SIP needs the extra 'sip'")

from duplex.config import AssistantConfig, Config, ServerConfig, SipConfig
from tests._support.servers import running_server
from tests._support.sip_desk import until

SIPP = shutil.which("sipp")
SCENARIO = Path(__file__).with_name("offerless.xml")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SIPP is None, reason="no SIPp: apt-get install sip-tester has it"),
]


async def test_calls_without_an_offer(tmp_path: Path) -> None:
    config = Config(
        server=ServerConfig(port=0),
        sip=SipConfig(enabled=True, listen="127.0.0.1:0"),
        assistants={"bot": AssistantConfig(greeting="Hello.")},
    )
    async with running_server(config) as running:
        assert running.server.sip is not None
        host, port = running.server.sip.address
        sipp = await asyncio.create_subprocess_exec(
            str(SIPP),
            *("-sf", str(SCENARIO), "-i", host, "-m", "3", "-l", "1", "-nostdin"),
            f"{host}:{port}",
            cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL,  # its screen; errors go to ours
        )
        async with asyncio.timeout(90):
            assert await sipp.wait() == 0
        assert len(running.engine.sessions) == 3
        await until(lambda: not running.server.sip.calls)  # type: ignore[union-attr]
