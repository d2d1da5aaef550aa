"""The two homes of what servers share keep one contract."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from duplex.metrics import Metrics
from duplex.server.keys import Principal
from duplex.server.places import Errands, Place, Places, Refusal
from duplex.server.quota import Allowance
from duplex.server.store import MemoryStore, Store, StoreDown
from duplex.server.valkey_store import ValkeyStore
from tests._support.stores import PROGRAM, RunningStore, free_port, running_store

pytestmark = pytest.mark.realtime
needs_store = pytest.mark.skipif(PROGRAM is None, reason="needs valkey-server or redis-server")
TWO = Allowance(calls=2)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture(params=["memory", pytest.param("valkey", marks=needs_store)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    running: RunningStore = request.getfixturevalue("running")
    async with valkey(running.url, prefix=request.node.name) as shared:
        yield shared


@asynccontextmanager
async def valkey(
    url: str, prefix: str, lease_s: float = 30.0, budget_s: float = 5.0
) -> AsyncIterator[ValkeyStore]:
    store = ValkeyStore(url, prefix=prefix, lease_s=lease_s, budget_s=budget_s)
    try:
        yield store
    finally:
        await store.close()


async def test_a_key_has_so_many_places(store: Store) -> None:
    told = await asyncio.gather(*(store.begin("alice", TWO, f"call{n}") for n in range(5)))
    assert sorted(map(str, told)) == ["None"] * 2 + ["This key may hold 2 calls at a time."] * 3
    assert await store.begin("bob", TWO, "other") is None
    await store.end("alice", TWO, f"call{told.index(None)}")
    assert await store.begin("alice", TWO, "next") is None
    assert await store.begin("alice", TWO, "one more") is not None


async def test_minutes_are_used_by_all_calls_together(store: Store) -> None:
    short = Allowance(minutes_per_day=0.6 / 60)
    assert await store.begin("alice", short, "a") is None
    assert await store.begin("alice", short, "b") is None
    assert 0 < await store.left_s("alice", short, "a") <= 0.3  # for each of the two
    await asyncio.sleep(0.4)
    for call in "ab":
        await store.left_s("alice", short, call)
    assert await store.left_s("alice", short, "a") == 0
    assert await store.begin("alice", short, "c") == "This key may use 0.01 minutes a day."
    assert await store.left_s("bob", TWO, "d") == float("inf")


async def test_a_secret_lives_for_its_time_and_there_are_so_many(store: Store) -> None:
    assert await store.keep_secret("d1", "alice", b"one", 1, 2)
    assert await store.keep_secret("d2", "alice", b"two", 60, 2)
    assert not await store.keep_secret("d3", "alice", b"three", 60, 2)
    assert await store.keep_secret("d4", "bob", b"four", 60, 2)
    assert [await store.secret(d) for d in ("d1", "d2", "d3")] == [b"one", b"two", None]
    await asyncio.sleep(1.1)
    assert await store.secret("d1") is None
    assert await store.keep_secret("d3", "alice", b"three", 60, 2)


async def test_a_ban_is_for_its_source_and_time(store: Store) -> None:
    await store.ban("1.2.3.4 alice ", 0.2)
    assert await store.is_banned("1.2.3.4 alice ")
    assert not await store.is_banned("1.2.3.4 bob ")
    await asyncio.sleep(0.3)
    assert not await store.is_banned("1.2.3.4 alice ")


async def test_where_a_server_is(store: Store) -> None:
    assert await store.address_of("a") is None
    await store.announce("a", "ws://10.0.0.7:8765", 60)
    assert await store.address_of("a") == "ws://10.0.0.7:8765"


@needs_store
async def test_a_place_that_nobody_renews_becomes_free(running: RunningStore) -> None:
    async with valkey(running.url, "lease", 0.3) as dead, valkey(running.url, "lease", 30) as alive:
        for call in ("a", "b"):
            assert await dead.begin("alice", TWO, call) is None
        assert await alive.begin("alice", TWO, "c") is not None
        await dead.left_s("alice", TWO, "a")
        await asyncio.sleep(0.2)
        await dead.left_s("alice", TWO, "a")  # renewed
        await asyncio.sleep(0.2)
        assert await alive.begin("alice", TWO, "c") is None
        assert await alive.begin("alice", TWO, "d") is not None


@needs_store
async def test_time_that_could_not_be_charged_is_charged_later(tmp_path: Path) -> None:
    hour = Allowance(minutes_per_day=60)
    with running_store(tmp_path) as running:
        async with valkey(running.url, "p") as store:
            await store.begin("alice", hour, "a")
            running.kill()
            await asyncio.sleep(0.3)
            with pytest.raises(StoreDown):
                await store.left_s("alice", hour, "a")
            running.start()
            assert 3590 < await store.left_s("alice", hour, "a") <= 3599.7


async def test_a_store_that_is_not_there_is_told_in_time() -> None:
    async with valkey(f"redis://127.0.0.1:{free_port()}", "p") as store:
        with pytest.raises(StoreDown, match="cannot be used"):
            await store.secret("d")


async def test_a_store_that_does_not_answer_is_told_in_time() -> None:
    began_s = asyncio.get_running_loop().time()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        async with valkey(url, "p", budget_s=0.05) as store:
            with pytest.raises(StoreDown, match="in time"):
                await store.is_banned("x")
    assert asyncio.get_running_loop().time() - began_s < 2


@pytest.mark.parametrize("admits", [False, True])
async def test_a_key_with_limits_and_a_store_that_is_down(admits: bool) -> None:
    async with valkey(f"redis://127.0.0.1:{free_port()}", "p") as store:
        errands = Errands(Metrics())
        places = Places(store, errands, admits_when_down=admits)
        limited = await places.reserve(Principal("alice", TWO, is_key=True))
        free = await places.reserve(Principal("bob", Allowance(), is_key=True))
        await errands.finish()
    assert isinstance(free, Place)
    assert isinstance(limited, Place if admits else Refusal)
    if isinstance(limited, Refusal):
        assert (limited.kind, limited.close_code) == ("store_down", 1013)


async def test_a_place_that_no_call_uses_is_given_back() -> None:
    errands = Errands(Metrics())
    places = Places(MemoryStore(), errands)
    one = Principal("alice", Allowance(calls=1), is_key=True)
    first = await places.reserve(one)
    assert isinstance(first, Place)
    assert isinstance(await places.reserve(one), Refusal)
    for _ in range(2):  # once is enough
        first.give_back()
    await errands.finish()
    second = await places.reserve(one)
    assert isinstance(second, Place)
    second.use()
    second.give_back()
    await errands.finish()
    assert isinstance(await places.reserve(one), Refusal)
    second.end()
    await errands.finish()
    assert isinstance(await places.reserve(one), Place)
