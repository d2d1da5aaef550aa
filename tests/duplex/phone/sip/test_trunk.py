"""Our number at a provider: a registrar that is nothing but text, over real UDP."""

import asyncio
from collections.abc import AsyncIterator

import pytest

pytest.importorskip("aiosipua", reason="SIP needs the extra 'sip'")

from aiosipua import SipRequest, SipResponse

from duplex.config import SipConfig
from duplex.errors import ConfigError
from duplex.metrics import Metrics
from duplex.phone.sip.call import SipCall
from duplex.phone.sip.listener import SipListener
from tests._support.sip_phone import SipPhone, sip_phone

pytestmark = pytest.mark.realtime


class Registrar(SipPhone):
    """Asks for the password once, and agrees to whatever is then asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 9))
        self.registered: list[str | None] = []  # for how many seconds

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        super().datagram_received(data, addr)
        request = self.got[-1]
        if not data.startswith(b"REGISTER") or not isinstance(request, SipRequest):
            return
        self._server = addr
        if request.get_header("authorization") is None:
            response = SipResponse(status_code=401, reason_phrase="Unauthorized")
            response.headers.append("WWW-Authenticate", 'Digest realm="p", nonce="n", qop="auth"')
        else:
            response = SipResponse(status_code=200, reason_phrase="OK")
            expires = request.get_header("expires") or ""
            self.registered.append(expires)
            response.headers.append("Expires", expires)
        for name in ("Via", "From", "To", "Call-ID", "CSeq"):
            for value in request.headers.get(name):
                response.headers.append(name, value)
        self.send(bytes(response))


@pytest.fixture
async def registrar() -> AsyncIterator[Registrar]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        Registrar, local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


async def until(condition) -> None:
    async with asyncio.timeout(90):
        while not condition():
            await asyncio.sleep(0.005)


def listener(**options: object) -> tuple[SipListener, list[SipCall]]:
    open_calls: list[SipCall] = []

    async def serve(call: SipCall) -> None:
        open_calls.append(call)
        await call.wait_closed()

    config = SipConfig(enabled=True, listen="127.0.0.1:0", **options)  # type: ignore[arg-type]
    return SipListener(config, Metrics(), lambda: None, str, serve, lambda: "call-1"), open_calls


async def test_the_number_is_registered_called_and_given_back(
    registrar: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTER_PASSWORD", "secret")
    monkeypatch.setenv("SIP_PASSWORD", "for others")
    taker, open_calls = listener(
        register=f"sip:100@127.0.0.1:{registrar.port}",
        register_password_env="REGISTER_PASSWORD",
        password_env="SIP_PASSWORD",
    )
    await taker.start()
    try:
        await until(lambda: registrar.registered == ["300"])
        request = next(m for m in registrar.got if m.get_header("authorization"))
        assert request.contact[0].uri.user == "100"
        assert request.contact[0].uri.port == taker.address[1]
        await registrar.call("c1")  # is asked for no password
        await until(lambda: len(open_calls) == 1)
    finally:
        await taker.stop()
    assert registrar.registered == ["300", "0"]


async def test_without_a_provider_nobody_is_registered() -> None:
    taker, _ = listener()
    await taker.start()
    async with sip_phone(taker.address) as phone:
        await phone.call("c1")
        assert not taker.trunk.is_from("127.0.0.1")
        await taker.stop()


async def test_a_provider_that_cannot_be_found_is_an_error() -> None:
    taker, _ = listener(register="sip:100@no such host")
    with pytest.raises(ConfigError, match="register"):
        await taker.start()
