"""Who is at the other end: what trusted proxies say, and nobody else."""

import pytest

from duplex.server.forwarded import Origin, Proxies, read_address

NEAR = Proxies(["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:4711 ", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix:", None),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("192.0.2.1:port", None),
        ("[2001:db8::1]x", None),
        ("300.1.1.1", None),
        ("192.0.2.1, 10.0.0.1", None),
    ],
)
def test_addresses_as_headers_have_them(text: str, address: str | None) -> None:
    found = read_address(text)
    assert (None if found is None else str(found)) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.9", "198.51.100.1", "192.0.2.9"),  # no proxy of ours
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the client wrote the first
        ("127.0.0.1", "198.51.100.1, 10.1.2.3", "198.51.100.1"),
        ("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),  # nobody but proxies
        ("10.0.0.1", "2001:db8::7, [fd00::1]:80", "2001:db8::7"),
        ("fd00::2", "198.51.100.1:1234", "198.51.100.1"),
        ("::ffff:127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1,,", "198.51.100.1"),
    ],
)
def test_the_last_that_is_no_proxy_is_the_caller(peer: str, forwarded: str, address: str) -> None:
    assert NEAR.origin(peer, {"x-forwarded-for": forwarded}) == Origin(address)


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("garbage", "127.0.0.1"),
        ("198.51.100.1, unix:", "127.0.0.1"),  # left of it anything may stand
        ("198.51.100.1, unknown, 10.1.2.3", "10.1.2.3"),
        ("\x00, " * 5000, "127.0.0.1"),
    ],
)
def test_what_cannot_be_read_is_not_believed(forwarded: str, address: str) -> None:
    origin = NEAR.origin("127.0.0.1", {"x-forwarded-for": forwarded})
    assert (origin.address, origin.is_garbled) == (address, True)


@pytest.mark.parametrize("peer", ["unknown", "", "/run/duplex.sock"])
def test_what_is_no_address_is_no_proxy(peer: str) -> None:
    assert NEAR.origin(peer, {"x-forwarded-for": "198.51.100.1"}) == Origin(peer)


def test_a_trusted_proxy_says_how_it_was_asked() -> None:
    headers = {"x-forwarded-proto": "https, http", "x-forwarded-host": "bot.example.org, inside"}
    assert NEAR.origin("10.0.0.1", headers) == Origin("10.0.0.1", True, "bot.example.org")
    assert NEAR.origin("192.0.2.1", headers) == Origin("192.0.2.1")
    assert NEAR.origin("10.0.0.1", {"x-forwarded-proto": "http"}).is_secure is False


@pytest.mark.parametrize("network", ["localhost", "10.0.0.0/99", "unix:", ""])
def test_what_is_no_network_is_named(network: str) -> None:
    with pytest.raises(ValueError, match="is no network"):
        Proxies([network])
