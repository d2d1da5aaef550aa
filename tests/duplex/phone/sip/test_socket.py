"""What UDP loses is sent again: one SIP socket in virtual time, its packets looked at."""

import asyncio

import pytest

from duplex.testing.virtual_time import virtual

pytest.importorskip("aiosipua", reason="SIP needs the extra 'sip'")

from aiosipua import SipMessage, SipRequest, SipResponse

from duplex.phone.sip.socket import SipSocket

PHONE = ("192.0.2.7", 5060)


class Net:
    """In place of the UDP socket."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, str]] = []
        self.passed_on: list[SipRequest | SipResponse] = []
        self.malformed = 0
        self.remembers = True
        self.socket = SipSocket(("127.0.0.1", 5060), self._drop)
        self.socket.on_message = lambda message, _: self._take(message)
        self.socket._socket = self  # type: ignore[assignment]

    def _drop(self) -> None:
        self.malformed += 1

    def _take(self, message: SipRequest | SipResponse) -> None:
        self.passed_on.append(message)
        if self.remembers and isinstance(message, SipRequest) and message.method != "ACK":
            self.socket.remember(message)

    def sendto(self, data: bytes, addr: tuple[str, int]) -> None:
        assert addr == PHONE
        now_s = asyncio.get_running_loop().time()
        self.sent.append((now_s, data.split(b"\r\n")[0].decode()))

    def close(self) -> None:
        pass

    def receive(self, *lines: str, source: tuple[str, int] = PHONE) -> None:
        self.socket._receive("\r\n".join([*lines, "", ""]).encode(), source)

    def request(self, method: str, branch: str = "b1") -> None:
        self.receive(
            f"{method} sip:bot@127.0.0.1 SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.7:5060;branch={branch}",
            "From: <sip:ann@a>;tag=1",
            "To: <sip:bot@b>",
            "Call-ID: c1",
            f"CSeq: 1 {method}",
        )

    def answer(self, status: int, method: str = "INVITE", branch: str = "b1") -> None:
        response = SipResponse(status_code=status, reason_phrase="")
        response.headers.append(
            "Via", f"SIP/2.0/UDP 192.0.2.7:5060;branch={branch};received=192.0.2.7"
        )
        response.headers.append("CSeq", f"1 {method}")
        self.socket.send_reply(response)

    @property
    def times_s(self) -> list[float]:
        return [round(at_s, 3) for at_s, _ in self.sent]


def bye() -> SipRequest:
    request = SipRequest(method="BYE", uri="sip:ann@192.0.2.7")
    request.headers.append("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=ours")
    request.headers.append("CSeq", "7 BYE")
    return request


def test_a_request_that_comes_again_is_answered_again_and_obeyed_once():
    async def scene() -> None:
        net = Net()
        net.request("OPTIONS")
        net.request("OPTIONS")  # not answered yet
        net.answer(200, "OPTIONS")
        net.request("OPTIONS")
        assert len(net.passed_on) == 1
        assert [line for _, line in net.sent] == ["SIP/2.0 200 "] * 2
        net.request("OPTIONS", branch="b2")
        assert len(net.passed_on) == 2
        await net.socket.stop()

    virtual(scene())


def test_a_refusal_is_repeated_until_it_is_acknowledged():
    async def scene() -> None:
        net = Net()
        net.request("INVITE")
        net.answer(100)
        net.answer(486)
        await asyncio.sleep(4)
        net.request("ACK")
        await asyncio.sleep(60)
        assert net.times_s == [0, 0, 0.5, 1.5, 3.5]
        assert [m.method for m in net.passed_on if isinstance(m, SipRequest)] == ["INVITE", "ACK"]
        await net.socket.stop()

    virtual(scene())


def test_a_refusal_that_nobody_acknowledges_is_given_up():
    async def scene() -> None:
        net = Net()
        net.request("INVITE")
        net.answer(486)
        await asyncio.sleep(200)
        assert net.times_s == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        await net.socket.stop()

    virtual(scene())


def test_a_request_of_ours_is_repeated_until_it_is_answered():
    async def scene() -> None:
        net = Net()
        asking = asyncio.create_task(net.socket.ask(bye(), PHONE))
        await asyncio.sleep(2)
        for status in (100, 200, 200):
            net.receive(
                f"SIP/2.0 {status} OK", "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=ours", "CSeq: 7 BYE"
            )
        assert (await asking).status_code == 200
        await asyncio.sleep(60)
        assert net.times_s == [0, 0.5, 1.5]
        assert [m.status_code for m in net.passed_on if isinstance(m, SipResponse)] == [200]
        await net.socket.stop()

    virtual(scene())


def test_a_request_of_ours_that_nobody_answers_times_out():
    async def scene() -> None:
        net = Net()
        with pytest.raises(TimeoutError):
            await net.socket.ask(bye(), PHONE)
        assert asyncio.get_running_loop().time() == 32
        await net.socket.stop()

    virtual(scene())


def test_answers_go_where_the_request_came_from():
    async def scene() -> None:
        net = Net()
        net.receive(
            "OPTIONS sip:bot@127.0.0.1 SIP/2.0",
            "Via: SIP/2.0/UDP phone.lan:9999;branch=b1;rport",
            "CSeq: 1 OPTIONS",
            source=PHONE,
        )
        (request,) = net.passed_on
        assert request.via[0].received == PHONE[0]
        assert request.via[0].rport == str(PHONE[1])
        await net.socket.stop()

    virtual(scene())


@pytest.mark.parametrize(
    "lines",
    [
        ["nonsense"],
        ["INVITE sip:bot@b SIP/2.0"],
        ["INVITE sip:bot@b SIP/2.0", "Via: "],
        ["INVITE sip:bot@b SIP/2.0", "Via: SIP/2.0/UDP a"],
        ["SIP/2.0 abc OK"],
        ["SIP/2.0 200 OK", "Via: SIP/2.0/UDP a;branch=x"],
    ],
)
def test_what_is_malformed_is_passed_over(lines):
    async def scene() -> None:
        net = Net()
        net.receive(*lines)
        net.socket._receive(b"\r\n\r\n", PHONE)  # a keep-alive is none
        assert net.malformed == 1
        assert net.passed_on == []
        await net.socket.stop()

    virtual(scene())


def test_what_is_not_remembered_is_passed_on_each_time_and_answered_once():
    async def scene() -> None:
        net = Net()
        net.remembers = False
        for _ in range(2):
            net.request("INVITE")
            net.answer(401)
        await asyncio.sleep(60)
        assert net.times_s == [0, 0]
        assert len(net.passed_on) == 2
        await net.socket.stop()

    virtual(scene())


def test_a_flood_fills_a_bounded_memory_and_keeps_nobody_out():
    async def scene() -> None:
        net = Net()
        for number in range(5000):
            net.request("OPTIONS", branch=f"b{number}")
        assert len(net.passed_on) == 5000
        assert len(net.socket._served) == 4096
        net.request("OPTIONS", branch="b4999")  # the newest are known
        assert len(net.passed_on) == 5000
        await asyncio.sleep(33)
        net.request("OPTIONS", branch="later")
        assert len(net.socket._served) == 1
        await net.socket.stop()

    virtual(scene())


def test_messages_are_read_as_they_were_written():
    message = SipMessage.parse(bytes(bye()))
    assert isinstance(message, SipRequest)
    assert message.method == "BYE"
