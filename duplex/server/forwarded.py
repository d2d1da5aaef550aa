"""Who is at the other end behind proxies: what those that are trusted say of it. Pure.

Only ``X-Forwarded-For``, ``-Proto`` and ``-Host`` are read. Reading ``Forwarded`` (RFC 7239) as
well would let a client write the one that its proxy does not.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from duplex.config import ServerConfig
from duplex.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAX_HOPS = 20


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from. ``is_secure`` and ``host`` are None if no trusted proxy says."""

    address: str
    is_secure: bool | None = None  # whether the proxy was asked over TLS
    host: str | None = None  # the name it was asked by, with the port
    is_garbled: bool = False  # an address in the header could not be read


class Proxies:
    """The networks whose word about where a request comes from is taken."""

    def __init__(self, networks: Iterable[str]) -> None:
        """
        Raises:
            ValueError: one is no network; the message quotes it.
        """
        self._networks: list[Network] = []
        for text in networks:
            try:
                self._networks.append(ipaddress.ip_network(text.strip(), strict=False))
            except ValueError:
                raise ValueError(f"{text!r} is no network such as 10.0.0.0/8 or ::1") from None

    def trusts(self, peer: str) -> bool:
        """Whether ``peer``, an address or what a socket has in its place, is one of them."""
        address = read_address(peer)
        return address is not None and self._knows(address)

    def origin(self, peer: str, headers: Mapping[str, str]) -> Origin:
        """Return where a request of ``peer`` comes from; names of ``headers`` are in lower case.

        The address is the right-most one that is not a trusted proxy's: what stands left of it
        may be made up. One that cannot be read ends the search at the proxy that reported it.
        """
        address = read_address(peer)
        if address is None or not self._knows(address):
            return Origin(peer if address is None else str(address))
        is_garbled = False
        reported = [hop for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
        for text in reversed(reported[-_MAX_HOPS:]):
            hop = read_address(text)
            if hop is None:
                is_garbled = True
                break
            address = hop
            if not self._knows(hop):
                break
        # A chain of proxies appends; what the client asked for stands first.
        scheme = headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
        host = headers.get("x-forwarded-host", "").split(",")[0].strip()
        return Origin(
            str(address),
            scheme in ("https", "wss") if scheme else None,
            host or None,
            is_garbled,
        )

    def _knows(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def read_address(text: str) -> Address | None:
    """Read an address as headers have it: ``1.2.3.4``, ``1.2.3.4:5``, ``::1``, ``[::1]:5``, quoted
    or not. An IPv4 address that is written as one of IPv6 is the former. None: it is none."""
    text = text.strip().strip('"').strip()
    if text.startswith("["):
        text, _, rest = text[1:].partition("]")
        if rest and not (rest.startswith(":") and rest[1:].isdecimal()):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not port.isdecimal():
            return None
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # without the name of a link
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def trusted(server: ServerConfig) -> Proxies:
    """The proxies that the configuration names.

    Raises:
        ConfigError: one is no network.
    """
    try:
        return Proxies(server.trusted_proxies)
    except ValueError as error:
        raise ConfigError(f"server.trusted_proxies: {error}") from error
