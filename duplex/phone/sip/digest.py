"""Checks that a SIP caller knows the password: digest authentication (RFC 7616), server side."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from enum import Enum

from aiosipua import AuthChallenge, SipDigestAuth, SipRequest, build_credentials, parse_auth

_REALM = "duplex"
_FRESH_S = 60.0  # how long a challenge may be answered


class Verdict(Enum):
    """The result of a check."""

    WELCOME = "welcome"
    ASK = "ask"  # nothing was presented, or for a challenge that is too old
    WRONG = "wrong"


class Digest:
    """One user and password. No state is kept of callers that do not know them: the answer to a
    challenge shows what it was. An answer opens one call, of one host, to the number that was
    dialled; until that is taken (`spend`) it may be given again, as UDP makes phones do."""

    def __init__(self, user: str, password: str, clock: Callable[[], float]) -> None:
        self._user = user
        self._password = password
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._spent: dict[str, float] = {}  # nonces of calls that were taken, and when

    def challenge(self, request: SipRequest, host: str) -> str:
        """The value of WWW-Authenticate for ``request``, which came from ``host``."""
        nonce = self._nonce(f"{int(self._clock() * 1000):x}", request, host)
        # Phones know only MD5. Its weakness helps only those who see the signalling anyway.
        return f'Digest realm="{_REALM}", nonce="{nonce}", algorithm=MD5, qop="auth"'

    def check(self, request: SipRequest, host: str) -> Verdict:
        """Judge the Authorization of ``request``."""
        presented = request.get_header("authorization")
        if not presented:
            return Verdict.ASK
        given = parse_auth(presented, credentials=True).params
        stamp = given.get("nonce", "").partition(".")[0]
        try:
            age_s = self._clock() - int(stamp, 16) / 1000
            uses = int(given.get("nc", "1"), 16)
        except ValueError:
            return Verdict.WRONG
        if not _same(self._nonce(stamp, request, host), given.get("nonce", "")):
            return Verdict.ASK  # of another call, or of the time before a restart
        if not 0 <= age_s <= _FRESH_S or given["nonce"] in self._spent:
            return Verdict.ASK
        asked = {"realm": _REALM, "nonce": given["nonce"], "algorithm": "MD5"}
        if "qop" in given:
            asked["qop"] = "auth"
        expected = build_credentials(
            SipDigestAuth(self._user, self._password),
            AuthChallenge("Digest", asked),
            request.method,
            request.uri,  # not what the answer says of it: it opens nothing else
            nonce_count=uses,
            cnonce=given.get("cnonce", ""),
        )
        assert expected is not None
        is_right = _same(expected.params["response"], given.get("response", ""))
        return Verdict.WELCOME if is_right else Verdict.WRONG

    def spend(self, request: SipRequest) -> None:
        """The call was taken: what opened it opens no other."""
        now_s = self._clock()
        while self._spent and now_s - next(iter(self._spent.values())) > _FRESH_S:
            del self._spent[next(iter(self._spent))]
        presented = parse_auth(request.get_header("authorization") or "", credentials=True)
        self._spent[presented.params.get("nonce", "")] = now_s

    def _nonce(self, stamp: str, request: SipRequest, host: str) -> str:
        asked = f"{stamp}\n{host}\n{request.call_id}".encode(errors="replace")
        return f"{stamp}.{hmac.new(self._key, asked, hashlib.sha256).hexdigest()[:32]}"


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(errors="replace"), b.encode(errors="replace"))
