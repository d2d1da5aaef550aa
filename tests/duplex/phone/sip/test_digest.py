"""Digest authentication, with aiosipua's client as the peer."""

import pytest

pytest.importorskip("aiosipua", reason="SIP needs the extra 'sip'")

from aiosipua import SipDigestAuth, SipRequest, build_credentials, parse_auth, stringify_auth

from duplex.phone.sip.digest import Digest, Verdict

HOST = "192.0.2.7"
URI = "sip:bot@198.51.100.1"


class Scene:
    """One user, and a clock."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.digest = Digest("ann", "correct horse", lambda: self.now_s)

    def challenge(self, host: str = HOST) -> str:
        return self.digest.challenge(invite(), host)

    def check(
        self, header: str | None, host: str = HOST, call_id: str = "c1", uri: str = URI
    ) -> Verdict:
        return self.digest.check(invite(header, call_id, uri), host)


def invite(authorization: str | None = None, call_id: str = "c1", uri: str = URI) -> SipRequest:
    request = SipRequest(method="INVITE", uri=uri)
    request.headers.append("Call-ID", call_id)
    if authorization is not None:
        request.headers.append("Authorization", authorization)
    return request


def answer(challenge: str, user: str = "ann", password: str = "correct horse") -> str:
    request = invite()
    credentials = build_credentials(
        SipDigestAuth(user, password), parse_auth(challenge), request.method, request.uri
    )
    assert credentials is not None
    return stringify_auth(credentials)


def test_the_right_password_opens_with_and_without_qop():
    scene = Scene()
    challenge = scene.challenge()
    assert scene.check(answer(challenge)) is Verdict.WELCOME
    plain = challenge.replace(', qop="auth"', "")
    assert scene.check(answer(plain)) is Verdict.WELCOME


def test_who_presents_nothing_is_asked():
    assert Scene().check(None) is Verdict.ASK


@pytest.mark.parametrize(
    ("user", "password"), [("ann", "wrong"), ("bob", "correct horse"), ("", ""), ("ann", "ü")]
)
def test_anything_else_is_wrong(user, password):
    scene = Scene()
    assert scene.check(answer(scene.challenge(), user, password)) is Verdict.WRONG


def test_an_answer_is_good_for_one_call_of_one_host_and_a_minute():
    scene = Scene()
    good = answer(scene.challenge())
    assert scene.check(good, host="192.0.2.8") is Verdict.ASK
    assert scene.check(good, call_id="c2") is Verdict.ASK
    assert Scene().check(good) is Verdict.ASK  # of another run of the server
    scene.now_s += 61
    assert scene.check(good) is Verdict.ASK


def test_an_answer_is_good_for_the_number_that_was_dialled():
    scene = Scene()
    assert scene.check(answer(scene.challenge()), uri="sip:other@198.51.100.1") is Verdict.WRONG


def test_an_answer_is_spent_when_it_has_opened_a_call():
    scene = Scene()
    good = answer(scene.challenge())
    assert [scene.check(good), scene.check(good)] == [Verdict.WELCOME] * 2  # not taken yet
    scene.digest.spend(invite(good))
    assert scene.check(good) is Verdict.ASK
    scene.now_s += 59
    scene.digest.spend(invite(answer(scene.challenge())))
    assert scene.check(good) is Verdict.ASK


def test_what_was_spent_is_forgotten_when_it_is_too_old_anyway():
    scene = Scene()
    for _ in range(1000):
        scene.digest.spend(invite(answer(scene.challenge())))
        scene.now_s += 1
    assert len(scene.digest._spent) <= 62


def test_a_made_up_challenge_is_not_accepted():
    scene = Scene()
    made_up = 'Digest realm="duplex", nonce="f4240.0123", algorithm=MD5, qop="auth"'
    assert scene.check(answer(made_up)) is Verdict.ASK


@pytest.mark.parametrize(
    "header",
    ["", "Digest", "Basic YTpi", 'Digest nonce="zz"', "Digest nonce=1.2, nc=xyz", "Digest ,,,=="],
)
def test_nonsense_opens_nothing(header):
    assert Scene().check(header) is not Verdict.WELCOME
