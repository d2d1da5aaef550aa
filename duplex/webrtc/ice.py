"""Where a call's sound can be sent: addresses and ports of this machine, as they are configured.

aiortc opens a port of any number at each address but the loopback's, and has no options for it.
What it leaves out is done here, for one connection at a time, by taking the place of the method
that does it in aioice. The tests fail if another release does it otherwise.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from functools import partial

from aioice import Candidate
from aioice.ice import Connection, StunProtocol, server_reflexive_candidate
from aiortc import RTCIceServer, RTCPeerConnection

from duplex.config import WebRtcConfig
from duplex.errors import ConfigError

_STUN_S = 5.0  # for servers to answer; calls begin without them after it
_HOST_PRIORITY = (126 << 24) + (65535 << 8) + 255  # RFC 8445, section 5.1.2.1, component 1


def servers(config: WebRtcConfig) -> list[RTCIceServer]:
    """The servers that a connection asks."""
    found = []
    if config.stun:
        found.append(RTCIceServer(config.stun))
    if config.turn:
        password = os.environ.get(config.turn_password_env)
        found.append(RTCIceServer(config.turn, config.turn_user or None, password))
    return found


def gather_as_configured(
    connection: RTCPeerConnection, config: WebRtcConfig, has_loopback: bool
) -> None:
    """Have ``connection`` use the configured addresses. Call it when the offer is known.

    Raises:
        ConfigError: aioice is of a release that does it otherwise.
    """
    transports = {t.receiver.transport.transport for t in connection.getTransceivers()}
    if connection.sctp is not None:
        transports.add(connection.sctp.transport.transport)
    for transport in transports:
        ice = transport.iceGatherer._connection
        asked = ice.get_component_candidates
        if not isinstance(ice, Connection):
            raise ConfigError("this release of aiortc is not known; see constraints.txt")
        ice.get_component_candidates = partial(  # type: ignore[method-assign]
            _gather, ice, asked, config, has_loopback
        )


async def _gather(
    ice: Connection,
    asked: Callable[..., Awaitable[list[Candidate]]],  # aioice's own, for relays
    config: WebRtcConfig,
    has_loopback: bool,
    component: int,
    addresses: list[str],
    timeout: float = _STUN_S,  # noqa: ASYNC109  # as aioice calls it
) -> list[Candidate]:
    """In the place of ``Connection.get_component_candidates``."""
    if config.listen:
        addresses = [config.listen]
    elif has_loopback:
        addresses = [*addresses, "127.0.0.1"]
    found: list[Candidate] = []
    protocols = []
    for address in addresses:
        protocol = await _open(ice, address, config.ports())
        if protocol is None:
            continue
        protocols.append(protocol)
        protocol.local_candidate = _host_candidate(protocol, component, config.public_address)
        found.append(protocol.local_candidate)
    ice._protocols += protocols
    if ice.stun_server is not None:
        asking = [
            asyncio.create_task(server_reflexive_candidate(protocol, ice.stun_server))
            for protocol in protocols
            if ":" not in protocol.transport.get_extra_info("sockname")[0]
        ]
        found += await _answered(asking, timeout)
    relayed: list[Candidate] = await asked(component=component, addresses=[], timeout=timeout)
    return found + relayed


async def _open(ice: Connection, address: str, ports: range) -> StunProtocol | None:
    """A socket of a free port of the range; None if there is none."""
    loop = asyncio.get_running_loop()
    for port in random.sample(ports, len(ports)):
        try:
            _, protocol = await loop.create_datagram_endpoint(
                lambda: StunProtocol(ice), local_addr=(address, port)
            )
        except OSError:
            continue
        return protocol
    return None


def _host_candidate(protocol: StunProtocol, component: int, public_address: str) -> Candidate:
    host, port = protocol.transport.get_extra_info("sockname")[:2]
    return Candidate(
        foundation=f"host{host.replace(':', '').replace('.', '')}",
        component=component,
        transport="udp",
        priority=_HOST_PRIORITY,
        host=public_address or host,
        port=port,
        type="host",
    )


async def _answered(asking: list[asyncio.Task], timeout_s: float) -> list[Candidate]:  # type: ignore[type-arg]
    if not asking:
        return []
    done, late = await asyncio.wait(asking, timeout=timeout_s)
    for task in late:
        task.cancel()
    return [task.result()[0] for task in done if task.exception() is None]
