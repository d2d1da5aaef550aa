"""Signatures of requests, as Standard Webhooks has them.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md,
sections "Webhook metadata" and "Symmetric (shared secret)".
"""

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"
_MIN_BYTES = 24  # by the specification, as the upper bound
_MAX_BYTES = 64


def key_of(secret: str) -> bytes:
    """Return the key in a secret: ``whsec_`` and 24 to 64 bytes in base64.

    Raises:
        ValueError: it is none; the message does not quote it.
    """
    if not secret.startswith(PREFIX):
        raise ValueError(f"it does not begin with {PREFIX}")
    text = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # the latter if it is not ASCII
        raise ValueError(f"what follows {PREFIX} is not in base64") from None
    if not _MIN_BYTES <= len(key) <= _MAX_BYTES:
        raise ValueError(f"it has {len(key)} bytes, not {_MIN_BYTES} to {_MAX_BYTES}")
    return key


def signed_headers(key: bytes, event_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of a request that is sent at ``at_s`` (Unix seconds). Each try is signed
    anew: receivers refuse old ones."""
    signed = b".".join([event_id.encode(), str(at_s).encode(), body])
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{signature}",
    }
