"""`import duplex`: quick, and everything that is public can be found and read about."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import duplex
from duplex import testing
from duplex.app.plugins import GROUPS
from duplex.config import KINDS

HEAVY = {"torch", "onnxruntime", "ctranslate2", "scipy", "transformers", "websockets", "numpy"}


def loaded_after(statement: str) -> set[str]:
    """The top-level packages that are imported by ``statement`` in a fresh process."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_duplex_loads_nothing_heavy() -> None:
    assert not loaded_after("import duplex") & HEAVY


def test_a_server_can_be_made_without_loading_models() -> None:
    models = HEAVY - {"websockets", "numpy"}
    assert not loaded_after("from duplex import Server; Server()") & models


@pytest.mark.parametrize("name", duplex.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(duplex, name)
    assert name in dir(duplex)
    assert found.__name__ == name
    assert len(found.__doc__) > 20
    assert not found.__doc__.startswith(f"{name}("), "that is the one dataclass makes"


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_for_tests_says_what_it_is(name: str) -> None:
    found = getattr(testing, name)
    assert not (found.__doc__ or f"{name}(").startswith(f"{name}(")


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Sever"):
        duplex.Sever  # noqa: B018


def test_the_names_that_are_promised() -> None:
    promised = "Server Config load_config Message Speech Finished Brain Ear Voice Vad Engine"
    assert {*promised.split(), "DuplexError"} <= set(duplex.__all__)


def test_every_part_with_a_kind_can_be_a_plug_in() -> None:
    assert GROUPS.keys() == KINDS.keys()
    example = (Path(__file__).parents[2] / "duplex.example.toml").read_text()
    assert all(group in example for group in GROUPS.values())
    assert {"kind", "options"} <= tomllib.loads(example)["brain"].keys()
