"""Signatures, checked by the libraries that receivers use."""

import base64
import json
import time

import pytest
from openai import OpenAI
from standardwebhooks import Webhook

from duplex.webhooks.signing import key_of, signed_headers
from tests._support.receiver import SECRET

BODY = json.dumps({"type": "call.started", "data": {"words": "Grüße"}}).encode()


def test_receivers_libraries_accept_it() -> None:
    headers = signed_headers(key_of(SECRET), "evt_1", int(time.time()), BODY)
    assert Webhook(SECRET).verify(BODY, headers) == json.loads(BODY)
    client = OpenAI(api_key="none", webhook_secret=SECRET)
    assert client.webhooks.unwrap(BODY, headers).type == "call.started"  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "body", "secret"])
def test_they_refuse_what_was_changed(changed: str) -> None:
    at_s = int(time.time())
    headers = signed_headers(key_of(SECRET), "evt_1", at_s, BODY)
    body, secret = BODY, SECRET
    if changed == "body":
        body = BODY.replace(b"started", b"stopped")
    elif changed == "secret":
        secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    else:
        headers[changed] = "evt_2" if changed == "webhook-id" else str(at_s - 1)
    with pytest.raises(Exception, match="signature"):
        Webhook(secret).verify(body, headers)


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("", "does not begin with whsec_"),
        ("c2VjcmV0", "does not begin with whsec_"),
        ("whsec_not base64", "not in base64"),
        ("whsec_ü", "not in base64"),
        ("whsec_c2VjcmV0", "has 6 bytes, not 24 to 64"),
    ],
)
def test_what_is_no_secret_is_told_without_quoting_it(secret: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as error:
        key_of(secret)
    rest = secret.removeprefix("whsec_")
    assert not rest or rest not in str(error.value)
