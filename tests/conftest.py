"""Fixtures for all tests."""

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from duplex.app import build
from duplex.config import Config
from duplex.model_store import ModelStore, Progress

if TYPE_CHECKING:
    from duplex.dialogue.parts import Parts
    from engine.ear.whisper import WhisperEar

# `make test-fast` takes the second. A machine may be busy, so no example has a deadline.
settings.register_profile("full", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=20)
settings.load_profile("full")

# Triton reads this once, when it is first imported, by transformers for one.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_finish() -> None:
    """Keep what was imported out of later collections of garbage: each call ends with one."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def store() -> ModelStore:
    """The models that `make setup` installed."""
    return ModelStore(Config().cache_dir())


@pytest.fixture(scope="session")
def models(store: ModelStore) -> Callable[[str], Path]:
    """Directory of a model by name; one that `make setup` leaves out is installed first."""

    def path(name: str) -> Path:
        store.ensure([name], Progress(sys.stderr))
        return store.path(name)

    return path


@pytest.fixture(scope="session")
def parts(store: ModelStore) -> "Parts":
    """The default models, loaded, for servers of real calls."""
    return build.load(Config(), store, Progress(sys.stderr))


@pytest.fixture(scope="session")
def ear(models: Callable[[str], Path]) -> "WhisperEar":
    """What tests hear with: better than the ear of the calls."""
    from engine.ear.whisper import WhisperEar

    return WhisperEar(models("whisper-base"))


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    """The loggers that `logs.configure` changes are as before after each test: their handler writes
    to a stream that pytest closes."""
    root, websockets = logging.getLogger(), logging.getLogger("websockets")
    handlers, levels = list(root.handlers), (root.level, websockets.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    websockets.setLevel(levels[1])
