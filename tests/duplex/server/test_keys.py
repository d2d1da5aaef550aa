"""Keys, client secrets and origins."""

import hashlib
from pathlib import Path

import pytest

from duplex.config import AccessConfig, Config, PhoneConfig, ServerConfig
from duplex.errors import ConfigError
from duplex.protocol.session_config import SessionConfig
from duplex.server import keys as access
from duplex.server.keys import (
    ClientSecrets,
    Keys,
    Principal,
    TooManySecrets,
    allows_origin,
    check_exposure,
    is_loopback,
    load_keys,
    presented_key,
)
from duplex.server.quota import Allowance
from duplex.server.store import MemoryStore

KEY = "0123456789abcdef"
ALICE = hashlib.sha256(KEY.encode()).hexdigest()


def written(tmp_path: Path, text: str) -> AccessConfig:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    return AccessConfig(keys_file=str(path), calls=7, bytes_per_s=5)


def test_a_key_of_the_file_is_its_owners_and_takes_the_usual_limits(tmp_path: Path) -> None:
    keys = load_keys(written(tmp_path, f"[alice]\nsha256 = '{ALICE}'\nbytes_per_s = 9"), {})
    owner = keys.find(KEY)
    assert owner is not None
    assert (owner.name, owner.allowance) == ("alice", Allowance(7, 0, 9))
    assert not owner.may_read_metrics
    assert keys.find(KEY + "x") is None
    assert keys.find("") is None
    assert keys.find(None) is None
    assert keys.find("\udc80") is None  # what is no text


def test_the_hash_of_a_key_is_no_key(tmp_path: Path) -> None:
    assert load_keys(written(tmp_path, f"[alice]\nsha256 = '{ALICE}'"), {}).find(ALICE) is None


def test_the_variable_holds_a_key_of_the_server_s_owner() -> None:
    keys = load_keys(AccessConfig(), {"DUPLEX_API_KEY": KEY})
    owner = keys.find(KEY)
    assert owner is not None
    assert owner.may_read_metrics
    assert keys.find("other-key-of-sixteen") is None


def test_without_keys_everybody_may_call() -> None:
    keys = load_keys(AccessConfig(), {})
    assert len(keys) == 0
    assert keys.find(None) is keys.find("anything")
    assert keys.find(None) is not None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[alice]\nsha256 = 'ff'", "64 hex digits"),
        ("[alice]\nsha256 = 'no hex'", "hex"),
        ("[alice]\nsha = 'ff'", "sha"),
        ("[alice", "keys.toml"),
        ("", "no key"),
    ],
)
def test_a_wrong_keys_file_is_refused(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_keys(written(tmp_path, text), {})


def test_a_missing_keys_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"/none\.toml"):
        load_keys(AccessConfig(keys_file="/none.toml"), {})


async def test_a_key_shares_no_account_with_a_door_of_its_name(tmp_path: Path) -> None:
    keys = load_keys(written(tmp_path, f"[sip]\nsha256 = '{ALICE}'"), {})
    owner = keys.find(KEY)
    assert owner is not None
    assert owner.account != Principal("sip", Allowance()).account
    secrets = ClientSecrets(keys, MemoryStore())
    user = await secrets.find((await secrets.make(owner, SessionConfig(), seconds=60)).value)
    assert user is not None
    assert user.account == owner.account


def test_a_short_key_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="16 characters") as refused:
        load_keys(AccessConfig(), {"DUPLEX_API_KEY": "hunter2"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("authorization", "subprotocols", "key"),
    [
        ("Bearer abc", None, "abc"),
        ("bearer  abc ", None, "abc"),
        ("Basic abc", None, None),
        ("Bearer ", "realtime, openai-insecure-api-key.xyz", "xyz"),
        (None, "realtime,openai-insecure-api-key.xyz,openai-beta.realtime-v1", "xyz"),
        (None, "realtime", None),
        (None, None, None),
    ],
)
def test_where_a_key_is_found(
    authorization: str | None, subprotocols: str | None, key: str | None
) -> None:
    assert presented_key(authorization, subprotocols) == key


def keys_of(*owners: Principal) -> Keys:
    return Keys({owner.name: (b"", owner) for owner in owners}, Principal("", Allowance()))


async def test_a_client_secret_is_good_until_it_expires() -> None:
    now_s = 1000.0
    owner = Principal("alice", Allowance(calls=2), may_read_metrics=True, is_key=True)
    secrets = ClientSecrets(keys_of(owner), MemoryStore(lambda: now_s), lambda: now_s)
    made = await secrets.make(owner, SessionConfig(instructions="Rhyme."), seconds=60)
    assert made.expires_at == 1060
    found = await secrets.find(made.value)
    assert found is not None
    assert (found.name, found.allowance.calls, found.may_read_metrics) == ("alice", 2, False)
    assert found.session == SessionConfig(instructions="Rhyme.")
    assert await secrets.find(made.value + "0") is None
    now_s = 1060.0
    assert await secrets.find(made.value) is None


async def test_a_secret_of_a_key_that_was_withdrawn_is_good_for_nothing() -> None:
    owner, store = Principal("alice", Allowance(), is_key=True), MemoryStore()
    made = await ClientSecrets(keys_of(owner), store).make(owner, SessionConfig(), 60)
    assert await ClientSecrets(keys_of(owner), store).find(made.value) is not None
    other = Principal("bob", Allowance(), is_key=True)
    assert await ClientSecrets(keys_of(other), store).find(made.value) is None


async def test_a_secret_of_another_version_is_good_for_nothing() -> None:
    owner, store = Principal("alice", Allowance(), is_key=True), MemoryStore()
    digest = hashlib.sha256(b"ek_1").hexdigest()
    await store.keep_secret(digest, owner.account, b'{"owner":"alice"}', 60, 9)
    assert await ClientSecrets(keys_of(owner), store).find("ek_1") is None


async def test_client_secrets_are_bounded_for_each_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MAX_SECRETS", 3)
    now_s = 0.0
    alice, bob = Principal("alice", Allowance()), Principal("bob", Allowance())
    secrets = ClientSecrets(keys_of(alice, bob), MemoryStore(lambda: now_s), lambda: now_s)
    for _ in range(3):
        await secrets.make(alice, SessionConfig(), 60)
    with pytest.raises(TooManySecrets):
        await secrets.make(alice, SessionConfig(), 60)
    await secrets.make(bob, SessionConfig(), 60)
    now_s = 61.0
    await secrets.make(alice, SessionConfig(), 60)


@pytest.mark.parametrize(
    ("origin", "host", "listed", "allowed"),
    [
        (None, "0.0.0.0", (), True),
        ("http://localhost:3000", "127.0.0.1", (), True),
        ("http://[::1]:3000", "::1", (), True),
        ("http://localhost:3000", "0.0.0.0", (), False),
        ("https://evil.example", "127.0.0.1", (), False),
        ("https://localhost.evil.example", "127.0.0.1", (), False),
        ("null", "127.0.0.1", (), False),
        ("http://[", "127.0.0.1", (), False),
        ("https://a.example", "0.0.0.0", ("https://a.example",), True),
        ("https://a.example:444", "0.0.0.0", ("https://a.example",), False),
        ("https://b.example", "0.0.0.0", ("*",), True),
    ],
)
def test_origins(origin: str | None, host: str, listed: tuple[str, ...], allowed: bool) -> None:
    assert allows_origin(origin, host, listed) is allowed


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "example.org"])
def test_strangers_are_not_served_by_accident(host: str) -> None:
    none = load_keys(AccessConfig(), {})
    config = Config(server=ServerConfig(host=host))
    with pytest.raises(ConfigError, match="--insecure"):
        check_exposure(config, none)
    check_exposure(Config(server=ServerConfig(host=host, insecure=True)), none)
    check_exposure(config, load_keys(AccessConfig(), {"DUPLEX_API_KEY": KEY}))
    check_exposure(Config(), none)


@pytest.mark.parametrize(
    "phone", [PhoneConfig(public_url="https://a.org"), PhoneConfig(trust_forwarded=True)]
)
def test_neither_are_those_who_come_through_a_tunnel(phone: PhoneConfig) -> None:
    none = load_keys(AccessConfig(), {})
    with pytest.raises(ConfigError, match="--insecure"):
        check_exposure(Config(phone=phone), none)
    check_exposure(Config(phone=phone, server=ServerConfig(insecure=True)), none)
    check_exposure(Config(phone=phone), load_keys(AccessConfig(), {"DUPLEX_API_KEY": KEY}))


def test_a_keys_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    digest = hashlib.sha256(b"some-key-of-ann's").hexdigest()
    path.write_text(f'[ann]\nsha256 = "{digest}"\n', "utf-8-sig")
    found = load_keys(AccessConfig(keys_file=str(path)), {}).find("some-key-of-ann's")
    assert found is not None
    assert found.name == "ann"
    path.write_text(f'[ann]\nsha265 = "{digest}"\n')
    with pytest.raises(ConfigError, match="did you mean 'sha256'"):
        load_keys(AccessConfig(keys_file=str(path)), {})


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/", "https://", "://a"])
def test_an_origin_that_no_page_has_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"access\.origins"):
        check_exposure(
            Config(access=AccessConfig(origins=(origin,))), load_keys(AccessConfig(), {})
        )


@pytest.mark.parametrize("origin", ["*", "null", "https://example.org:8443", "app://-"])
def test_an_origin_that_a_page_may_have_is_taken(origin: str) -> None:
    check_exposure(Config(access=AccessConfig(origins=(origin,))), load_keys(AccessConfig(), {}))


def test_a_public_address_names_its_scheme() -> None:
    with pytest.raises(ConfigError, match=r"phone\.public_url: 'bot\.example\.org'"):
        check_exposure(
            Config(phone=PhoneConfig(public_url="bot.example.org")), load_keys(AccessConfig(), {})
        )
