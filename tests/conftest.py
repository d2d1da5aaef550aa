"""Fixtures for all tests."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from duplex.config import Config
from duplex.models import ModelStore, Progress


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
