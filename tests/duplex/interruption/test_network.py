"""The trained networks are the ones of the manifest, or they are refused."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from duplex.errors import ModelError
from duplex.interruption.network import FEATURES, load

NAMES = ["first_syllable", "whole_utterance"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the weights that come with the package."""
    for file in (resources.files("duplex.interruption") / "weights").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_the_networks_of_the_package_are_those_of_the_manifest(name: str) -> None:
    network = load(name)
    assert 0 < network.run([np.zeros(FEATURES, np.float32)]) < 1


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_was_changed_is_refused(name: str, weights: Path) -> None:
    file = weights / f"{name}.npz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=rf"{name}\.npz has the sha256 .* the file was changed"):
        load(name, weights)


def test_a_file_that_is_missing_is_named(weights: Path) -> None:
    (weights / "first_syllable.npz").unlink()
    with pytest.raises(ModelError, match=r"first_syllable\.npz is missing"):
        load("first_syllable", weights)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_has_a_card(name: str, weights: Path) -> None:
    assert f"`{name}.npz`" in (weights / "README.md").read_text("utf-8")
