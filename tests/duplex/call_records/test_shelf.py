"""The folder of recordings: what is kept, and what a thread is given up for."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from duplex.call_records import journal
from duplex.call_records.keeper import Keeper
from duplex.call_records.ranges import MAX_OPEN_BYTES, wanted_range
from duplex.call_records.recording import Recording
from duplex.call_records.shelf import Shelf, new_id
from duplex.config import RecordingConfig
from duplex.dialogue.observers import CallInfo
from duplex.metrics import Metrics
from duplex.protocol.session_config import SessionConfig

DAY_S = 86_400
NOW_S = 1_800_000_000.0


def put(folder: Path, age_days: float, size: int = 1000, suffix: str = "") -> str:
    name = new_id("call-1", NOW_S - age_days * DAY_S) + suffix
    (folder / name).mkdir()
    (folder / name / "call.json").write_bytes(b" " * size)
    return name


def shelf(folder: Path, **options: float) -> Shelf:
    return Shelf(RecordingConfig(dir=str(folder), **options), lambda: NOW_S)  # type: ignore[arg-type]


def test_what_is_too_old_is_deleted(tmp_path: Path) -> None:
    kept = [put(tmp_path, 1.0), put(tmp_path, 29.9)]
    put(tmp_path, 30.1)
    put(tmp_path, 300)
    (tmp_path / "notes").mkdir()  # not ours
    assert shelf(tmp_path, keep_days=30.0).clear() == 2
    assert shelf(tmp_path).ids() == kept
    assert (tmp_path / "notes").exists()
    assert shelf(tmp_path, keep_days=0).clear() == 0


def test_the_oldest_make_room(tmp_path: Path) -> None:
    names = [put(tmp_path, age, 1000) for age in (1, 2, 3, 4)]
    put(tmp_path, 0, 500, ".part")  # one that goes on counts, and stays
    assert shelf(tmp_path, max_bytes=3499).clear() == 2
    assert shelf(tmp_path).ids() == names[:2]
    assert len(shelf(tmp_path).parts()) == 1
    assert shelf(tmp_path, max_bytes=10).clear() == 2


def test_a_deletion_that_was_broken_off_is_finished(tmp_path: Path) -> None:
    (tmp_path / (put(tmp_path, 1) + ".gone")).mkdir()
    assert shelf(tmp_path).clear() == 0
    assert [path.suffix for path in tmp_path.iterdir()] == [""]


def test_names_sort_by_time_and_are_plain() -> None:
    first, second = new_id("../call 1/x", NOW_S), new_id("b", NOW_S + 1)
    assert first < second
    assert "/" not in first
    assert "." not in first


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-", range(MAX_OPEN_BYTES)),
        ("bytes=5-9", range(5, 10)),
        ("bytes=-10", range(2**21 - 10, 2**21)),
        (f"bytes=0-{2**40}", range(2**21)),
        (f"bytes={2**21 - 1}-", range(2**21 - 1, 2**21)),
        ("bytes=-", None),
        ("bytes=1-2,4-5", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 100 + "-", None),
    ],
)
def test_ranges(header: str | None, wanted: range | None) -> None:
    assert wanted_range(header, 2**21) == wanted


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=9-5", "bytes=-0"])
def test_ranges_that_are_not_there(header: str) -> None:
    with pytest.raises(ValueError, match="100 bytes"):
        wanted_range(header, 100)


async def test_a_disk_that_is_too_slow_costs_the_recording_and_no_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    keeper = Keeper(RecordingConfig(dir=str(tmp_path)), shelf(tmp_path), metrics, "en")
    disk = threading.Event()
    sound = np.zeros(24_000, np.float32)
    async with keeper.running():
        keeper.do(disk.wait)
        observer = keeper.observe(CallInfo("call-1", NOW_S, "", "websocket", "", SessionConfig()))
        assert observer is not None
        for second in range(600):
            observer.heard(sound, 24_000, second + 1.0)
        assert keeper.waiting < 250  # of 96 KB
        disk.set()
        await asyncio.sleep(0)
        observer.ended("hung_up", 600.0)
    assert 'outcome="failed"} 1.0' in metrics.render({})
    assert "too slow" in caplog.text
    assert len(shelf(tmp_path).parts()) == 1


def test_a_recording_without_a_sound_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / new_id("call-1", NOW_S)
    recording = Recording(folder, journal.Began("call-1", NOW_S, "anna", "sip"))
    record = recording.close("hung_up", 3.0)
    assert (record.seconds, record.rate_hz, record.ended) == (3.0, 0, "hung_up")
    assert sorted(path.name for path in folder.iterdir()) == [
        "call.json",
        "transcript.jsonl",
        "transcript.vtt",
    ]
    assert shelf(tmp_path).record(folder.name) == record
