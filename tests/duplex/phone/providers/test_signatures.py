"""Signatures, beside Twilio's own package; public addresses; keys of other providers."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from duplex.config import PhoneConfig
from duplex.phone.providers.signatures import (
    is_signed_by_twilio,
    key_of,
    public_url,
    twilio_signature,
)

TOKEN = "12345678901234567890123456789012"
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


class Many(dict[str, list[str]]):
    """A form as the package takes one whose fields repeat."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


@given(
    path=names,
    form=st.dictionaries(names, st.lists(st.text(max_size=20), min_size=1, max_size=3), max_size=6),
)
def test_signatures_are_those_of_twilios_package(path: str, form: dict[str, list[str]]) -> None:
    url = f"https://bot.example.org/{path}"
    theirs = RequestValidator(TOKEN).compute_signature(url, Many(form))
    assert twilio_signature(TOKEN, url, form) == theirs
    assert is_signed_by_twilio(TOKEN, url, form, theirs)
    assert not is_signed_by_twilio(TOKEN, url + "x", form, theirs)
    assert not is_signed_by_twilio(TOKEN[:-1], url, form, theirs)


def test_the_example_of_twilios_documentation() -> None:
    form = {
        "CallSid": ["CA1234567890ABCDE"],
        "Caller": ["+14158675309"],
        "Digits": ["1234"],
        "From": ["+14158675309"],
        "To": ["+18005551212"],
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert twilio_signature("12345", url, form) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize("url", ["wss://h.org/twilio", "wss://h.org:443/twilio"])
def test_a_port_may_be_counted_or_not(url: str) -> None:
    for signed in ("wss://h.org/twilio", "wss://h.org:443/twilio"):
        signature = RequestValidator(TOKEN).compute_signature(signed, {})
        assert is_signed_by_twilio(TOKEN, url, {}, signature)


@pytest.mark.parametrize("signature", ["", "x", "\ud800", "é" * 1000])
def test_nonsense_is_no_signature(signature: str) -> None:
    assert not is_signed_by_twilio(TOKEN, "wss://h.org/twilio", {}, signature)


FORWARDED = {
    "host": "10.0.0.1:8765",
    "x-forwarded-host": "bot.example.org, inner",
    "x-forwarded-proto": "https",
}


@pytest.mark.parametrize(
    ("config", "url"),
    [
        (PhoneConfig(), "ws://10.0.0.1:8765/twilio"),  # what anybody may send is not believed
        (PhoneConfig(trust_forwarded=True), "wss://bot.example.org/twilio"),
        (PhoneConfig(public_url="https://a.org"), "wss://a.org/twilio"),
        (PhoneConfig(public_url="https://a.org:8443/bot/"), "wss://a.org:8443/bot/twilio"),
        (PhoneConfig(public_url="wss://a.org", trust_forwarded=True), "wss://a.org/twilio"),
    ],
)
def test_the_public_address_of_a_stream(config: PhoneConfig, url: str) -> None:
    told = public_url(config, FORWARDED, "/twilio", is_tls=False, is_stream=True)
    assert told == url


def test_the_public_address_of_a_page_keeps_its_query() -> None:
    config = PhoneConfig(public_url="https://a.org")
    target = "/twilio?assistant=x&y=%20"
    told = public_url(config, {}, target, is_tls=False, is_stream=False)
    assert told == "https://a.org" + target
    told = public_url(PhoneConfig(), {"host": "h"}, target, is_tls=True, is_stream=False)
    assert told == "https://h" + target


@pytest.mark.parametrize("host", ["", "h:port", "[::1"])
def test_an_address_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"host|[Pp]ort|IPv6"):
        public_url(PhoneConfig(), {"host": host}, "/twilio", is_tls=False, is_stream=True)


BASIC = base64.b64encode(b"user:se:cret").decode()


@pytest.mark.parametrize(
    ("headers", "query", "key"),
    [
        ({}, "", None),
        ({}, "token=abc&x=1", "abc"),
        ({"authorization": "Bearer abc"}, "token=other", "abc"),
        ({"authorization": f"Basic {BASIC}"}, "", "se:cret"),
        ({"authorization": "Basic \ud800"}, "", None),
        ({"authorization": "Basic ????"}, "token=abc", None),
    ],
)
def test_the_keys_of_other_providers(headers: dict[str, str], query: str, key: str | None) -> None:
    assert key_of(headers, query) == key
