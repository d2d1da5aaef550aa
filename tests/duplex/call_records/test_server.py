"""A real server that records: calls over sockets, and what an admin is shown of them."""

import asyncio
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import ClientConnection, connect

from duplex.app.server import DialogueServer
from duplex.call_records.tickets import is_good, make_ticket
from duplex.config import Config, RecordingConfig, ServerConfig
from duplex.errors import ConfigError
from duplex.server.keys import Keys, Principal, load_keys
from duplex.server.quota import Allowance
from tests._support.recordings import Recorded, cues_of, whole_in
from tests._support.servers import NO_KEYS, Running, running_server
from tests._support.wire import say_something, send, until

pytestmark = pytest.mark.realtime

ADMIN = "a key of whoever runs the server"
ADMINS = Keys({}, Principal("", Allowance()), hashlib.sha256(ADMIN.encode()).digest())
ANSWER_S = 1.7  # "It is ten. Time for tea." lasts a little less
AUTH = {"Authorization": f"Bearer {ADMIN}"}


def config(folder: Path, **options: Any) -> Config:
    recording = RecordingConfig(dir=str(folder), **options)
    return Config(server=ServerConfig(port=0, root_path="/voice"), recording=recording)


async def hold_a_call(running: Running, **headers: str) -> None:
    """A turn and its answer."""
    async with connect(running.url, additional_headers=headers) as client:
        await until(client, "session.created")
        await say_something(client)


async def the_recordings(folder: Path, count: int = 1) -> list[Path]:
    """Wait until there are so many, whole."""
    async with asyncio.timeout(30):
        while len(found := whole_in(folder)) < count:
            await asyncio.sleep(0.05)
    return found


async def test_a_call_over_a_socket_is_kept_and_shown(tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    async with (
        running_server(config(folder), keys=ADMINS) as running,
        aiohttp.ClientSession(running.http + "/voice/") as http,
    ):
        async with connect(running.url) as client:
            await until(client, "session.created")
            await say_something(client)
            listed = await (await http.get("v1/calls", headers=AUTH)).json()
            (open_call,) = listed["running"]
            assert (open_call["client"], open_call["turns"]) == ("websocket", 1)
            assert open_call["phase"] in ("speaking", "waiting")
            assert listed["recorded"] == []
            await asyncio.sleep(ANSWER_S)
        (kept,) = await the_recordings(folder)
        recorded = Recorded(kept)
        left, right = recorded.sound.T
        assert np.abs(left[:24_000]).min() > 0.2  # the tone of the first second, loss-free
        assert np.abs(left[24_000:]).max() == 0
        assert recorded.ends_of(right)[0] > 1.0
        assert [line["role"] for line in recorded.lines] == ["user", "assistant"]
        assert len(cues_of((kept / "transcript.vtt").read_text())) == 2
        listed = await (await http.get("v1/calls", headers=AUTH)).json()
        (shown,) = listed["recorded"]
        assert shown["id"] == kept.name
        whole = await (await http.get(f"v1/calls/{kept.name}", headers=AUTH)).json()
        assert whole["transcript"] == recorded.lines
        assert whole["call"]["answers"][0]["marks_ms"]["released"] > 0
        await check_files(http, kept, whole["files"])
        deleted = await http.delete(f"v1/calls/{kept.name}", headers=AUTH)
        assert (await deleted.json())["deleted"]
        assert list(folder.iterdir()) == []
        assert (await http.delete(f"v1/calls/{kept.name}", headers=AUTH)).status == 404


async def check_files(http: aiohttp.ClientSession, kept: Path, files: dict[str, str]) -> None:
    """Each comes whole and in parts, by the address that was given, without a key."""
    sound = (kept / "audio.flac").read_bytes()
    address = "v1/calls/" + files["audio.flac"]
    answer = await http.get(address)
    assert (answer.status, answer.content_type) == (200, "audio/flac")
    assert await answer.read() == sound
    samples, _ = soundfile.read(io.BytesIO(sound))
    assert len(samples)
    for asked, status, body in (
        ("bytes=0-", 206, sound),  # it is short
        ("bytes=10-19", 206, sound[10:20]),
        ("bytes=-7", 206, sound[-7:]),
        (f"bytes=5-{len(sound) * 2}", 206, sound[5:]),
        ("bytes=0-1,5-6", 200, sound),
        ("lines=1-2", 200, sound),
    ):
        answer = await http.get(address, headers={"Range": asked})
        assert (answer.status, await answer.read()) == (status, body), asked
    answer = await http.get(address, headers={"Range": "bytes=10-19"})
    assert answer.headers["Content-Range"] == f"bytes 10-19/{len(sound)}"
    answer = await http.get(address, headers={"Range": f"bytes={len(sound)}-"})
    assert answer.status == 416
    answer = await http.head(address)
    assert (answer.headers["Content-Length"], answer.status) == (str(len(sound)), 200)
    for name in ("transcript.vtt", "transcript.jsonl", "call.json"):
        answer = await http.get("v1/calls/" + files[name])
        assert await answer.read() == (kept / name).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "v1/calls/../../secret.txt",
        "v1/calls/%2e%2e/secret.txt",
        "v1/calls/..%2fsecret.txt",
        "v1/calls/{id}/../../secret.txt",
        "v1/calls/{id}/..%2f..%2fsecret.txt",
        "v1/calls/{id}/journal.jsonl",
        "v1/calls/{id}/audio.flac/x",
        "v1/calls/{id}.part",
        "v1/calls/nothing",
        "v1/calls//etc/passwd",
    ],
)
async def test_no_path_leads_elsewhere(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "calls"
    (tmp_path / "secret.txt").write_text("secret")
    record_id = "20261129T020559Z-call-1-abcdef"
    for name in (record_id, record_id + ".part"):
        (folder / name).mkdir(parents=True)
        (folder / name / "call.json").write_text(f'{{"id":"{record_id}"}}')
        (folder / name / "transcript.jsonl").write_text("")
    async with running_server(config(folder), keys=ADMINS) as running:
        host, port = running.http.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        target = "/" + path.format(id=record_id)
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\r\n"
        writer.write(head.encode())
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 404 "), answer[:200]
    assert b"secret" not in answer.lower().replace(path.encode().lower(), b"")


async def test_without_the_key_nothing_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    async with (
        running_server(config(folder), keys=ADMINS) as running,
        aiohttp.ClientSession(running.http + "/") as http,
    ):
        await hold_a_call(running)
        (kept,) = await the_recordings(folder)
        whole = await (await http.get(f"v1/calls/{kept.name}", headers=AUTH)).json()
        ticket = whole["files"]["audio.flac"].partition("?")[2]
        for path in ("v1/calls", f"v1/calls/{kept.name}", f"v1/calls/{kept.name}/audio.flac"):
            assert (await http.get(path)).status == 401
            wrong = {"Authorization": "Bearer another key of no use"}
            assert (await http.get(path, headers=wrong)).status == 401
        for path in (f"v1/calls?{ticket}", f"v1/calls/{kept.name}?{ticket}"):
            assert (await http.get(path)).status == 401
            assert (await http.delete(path)).status == 401
        other = f"v1/calls/20261129T020559Z-call-1-abcdef/audio.flac?{ticket}"
        assert (await http.get(other)).status == 401
        elsewhere = {**AUTH, "Origin": "https://evil.example"}
        assert (await http.get("v1/calls", headers=elsewhere)).status == 403
        assert (await http.post("v1/calls", headers=AUTH)).status == 405
        assert kept.exists()


async def test_without_an_admin_there_are_no_pages(tmp_path: Path) -> None:
    async with (
        running_server(config(tmp_path / "calls"), keys=NO_KEYS) as running,
        aiohttp.ClientSession(running.http + "/") as http,
    ):
        for path in ("calls", "calls.html", "v1/calls", "v1/calls/x"):
            assert (await http.get(path, headers=AUTH)).status == 404, path
        assert (await http.get("")).status == 200


async def test_a_server_that_records_nothing_shows_what_runs(tmp_path: Path) -> None:
    async with (
        running_server(Config(server=ServerConfig(port=0)), keys=ADMINS) as running,
        aiohttp.ClientSession(running.http + "/") as http,
    ):
        assert (await http.get("calls")).status == 200
        listed = await (await http.get("v1/calls", headers=AUTH)).json()
        assert (listed["records"], listed["recorded"], listed["running"]) == (False, [], [])
        assert (await http.get("v1/calls/x", headers=AUTH)).status == 404


KEY_FILE = """
[yes]
sha256 = "{yes}"
record = true
[no]
sha256 = "{no}"
record = false
[unsaid]
sha256 = "{unsaid}"
admin = true
"""


@pytest.mark.parametrize(("every_call", "names"), [(True, {"yes", "unsaid"}), (False, {"yes"})])
async def test_keys_say_whether_their_calls_are_recorded(
    tmp_path: Path, every_call: bool, names: set[str]
) -> None:
    keys = {name: f"the key of {name}, long enough" for name in ("yes", "no", "unsaid")}
    digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in keys.items()}
    (tmp_path / "keys.toml").write_text(KEY_FILE.format(**digests))
    wanted = config(tmp_path / "calls", every_call=every_call)
    access = type(wanted.access)(keys_file=str(tmp_path / "keys.toml"))
    async with (
        running_server(wanted, keys=load_keys(access, {})) as running,
        aiohttp.ClientSession(running.http + "/") as http,
    ):
        for key in keys.values():
            await hold_a_call(running, Authorization=f"Bearer {key}")
        kept = await the_recordings(tmp_path / "calls", len(names))
        assert {Recorded(folder).call["key"] for folder in kept} == names
        for name, status in (("unsaid", 200), ("yes", 401)):
            headers = {"Authorization": f"Bearer {keys[name]}"}
            assert (await http.get("v1/calls", headers=headers)).status == status
    assert not any(key in path.read_text() for key in keys.values() for path in kept_texts(kept))


def kept_texts(folders: list[Path]) -> list[Path]:
    return [path for folder in folders for path in folder.iterdir() if path.suffix != ".flac"]


async def test_a_full_disk_harms_no_call_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with running_server(config(tmp_path / "calls"), keys=ADMINS) as running:
        monkeypatch.setattr("duplex.call_records.recording.Recording.turn", full)
        for _ in range(2):
            await hold_a_call(running)
        monkeypatch.undo()
        await hold_a_call(running)
        (kept,) = await the_recordings(tmp_path / "calls")
        page = running.server.metrics.render({})
        assert 'duplex_recordings_total{outcome="failed"} 2.0' in page
        assert 'duplex_recordings_total{outcome="kept"} 1.0' in page
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "No space left" in errors[0].getMessage()
    assert len(list((tmp_path / "calls").glob("*.part"))) == 2
    async with running_server(config(tmp_path / "calls"), keys=ADMINS):
        await the_recordings(tmp_path / "calls", 3)  # as far as they were written
    assert [line["role"] for line in Recorded(kept).lines] == ["user"]  # it hung up at once


async def test_calls_that_are_open_when_the_server_stops_are_kept(tmp_path: Path) -> None:
    clients: list[ClientConnection] = []
    async with running_server(config(tmp_path / "calls"), keys=ADMINS) as running:
        client = await connect(running.url)
        clients.append(client)
        await until(client, "session.created")
        await say_something(client)
    (kept,) = (tmp_path / "calls").iterdir()
    assert Recorded(kept).call["ended"] == "server_stopping"
    for client in clients:
        await client.close()


async def test_a_session_may_say_no_at_its_beginning(tmp_path: Path) -> None:
    async with running_server(config(tmp_path / "calls"), keys=ADMINS) as running:
        async with connect(running.url) as client:
            await until(client, "session.created")
            session = {"type": "realtime", "duplex": {"record": False}}
            await send(client, "session.update", session=session)
            await say_something(client)
        await hold_a_call(running)
        await the_recordings(tmp_path / "calls")
    assert len(list((tmp_path / "calls").iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"recording\.dir"):
        DialogueServer(config(tmp_path / "file" / "calls"), None, keys=NO_KEYS)  # type: ignore[arg-type]


def test_a_ticket_is_for_one_recording_and_a_while() -> None:
    ticket = make_ticket(b"key", "a", 1000.0)
    assert is_good(ticket, [b"other", b"key"], "a", 2000.0)
    for wrong in (
        (ticket, [b"key"], "b", 2000.0),
        (ticket, [b"other"], "a", 2000.0),
        (ticket, [b"key"], "a", 1e9),
        (ticket.replace("1", "2", 1), [b"key"], "a", 2000.0),
        ("", [b"key"], "a", 0.0),
        ("²³.x", [b"key"], "a", 0.0),
        ("9" * 40 + ".x", [b"key"], "a", 0.0),
    ):
        assert not is_good(*wrong)


def test_an_admin_key_of_its_own_lets_everybody_call(tmp_path: Path) -> None:
    access = Config().access
    keys = load_keys(access, {"DUPLEX_ADMIN_KEY": ADMIN})
    assert keys.find(None) is not None
    assert len(keys) == 0
    assert keys.find_admin(ADMIN)
    assert keys.find_admin("another") is None
    with pytest.raises(ConfigError, match="DUPLEX_ADMIN_KEY"):
        load_keys(access, {"DUPLEX_ADMIN_KEY": "short"})
    assert json.dumps([digest.hex() for digest in keys.admin_digests]).count(ADMIN) == 0
