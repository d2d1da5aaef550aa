"""What --model and --thinking mean in the configuration."""

from pathlib import Path

import pytest

from duplex.cli.main import command_line
from duplex.cli.options import config_of, server_arguments
from duplex.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "model"),
    [
        ("stepfun-ai/Step-Audio-R1.1", "hub:stepfun-ai/Step-Audio-R1.1"),
        ("hub:stepfun-ai/Step-Audio-R1.1@main", "hub:stepfun-ai/Step-Audio-R1.1@main"),
        ("/models/there/later", "/models/there/later"),
        ("./beside", "./beside"),
        ("qwen2.5-coder-0.5b", "qwen2.5-coder-0.5b"),
    ],
)
def test_a_model_is_the_native_engines(given: str, model: str) -> None:
    config = config_of(command_line().parse_args(["serve", "--model", given]))
    assert (config.brain.kind, config.brain.model) == ("native", model)


def test_a_directory_that_is_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config = config_of(command_line().parse_args(["serve", "--model", "org/name"]))
    assert config.brain.model == str(tmp_path / "org" / "name")


def test_a_model_and_a_brain_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="give one"):
        config_of(command_line().parse_args(["serve", "--model", "a/b", "--brain", "c"]))


def test_thinking_has_modes_and_some_need_the_native_engine() -> None:
    def mode(*arguments: str) -> str:
        return config_of(command_line().parse_args(["serve", *arguments])).brain.thinking

    assert mode() == "off"
    assert mode("--thinking") == "before"
    assert mode("--model", "a/b", "--thinking", "speak_first") == "speak_first"
    with pytest.raises(ConfigError, match="native"):
        mode("--thinking", "think_first")


def test_a_server_that_is_started_gets_the_same_options() -> None:
    arguments = ["--model", "a/b", "--thinking", "speak_first"]
    options = command_line().parse_args(["demo", *arguments])
    assert server_arguments(options) == arguments
