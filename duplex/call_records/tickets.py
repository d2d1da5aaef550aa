"""Short-lived rights to one recording's files, in an address: an audio element sends no key. Pure.

A ticket is made with the hash of the key that asked for it, so all servers with that key take it,
and none does when the key is withdrawn.
"""

import hashlib
import hmac
from collections.abc import Iterable

LASTS_S = 4 * 3600


def make_ticket(key_digest: bytes, record_id: str, now_s: float) -> str:
    """Return a ticket for the files of a recording."""
    until = int(now_s) + LASTS_S
    return f"{until}.{_sign(key_digest, record_id, until)}"


def is_good(ticket: str, key_digests: Iterable[bytes], record_id: str, now_s: float) -> bool:
    """Whether a ticket was made with one of these keys, for that recording, and still holds."""
    until, _, signature = ticket.partition(".")
    if not (until.isascii() and until.isdigit() and len(until) < 16) or int(until) < now_s:
        return False
    given = signature.encode(errors="replace")
    good = False
    for digest in key_digests:  # all of them: equal time for all keys
        made = _sign(digest, record_id, int(until)).encode()
        good |= hmac.compare_digest(made, given)
    return good


def _sign(key_digest: bytes, record_id: str, until: int) -> str:
    message = f"recording {record_id} {until}".encode()
    return hmac.new(key_digest, message, hashlib.sha256).hexdigest()
