"""What is read of a checkpoint before its weights."""

import json
from pathlib import Path

from engine.native.load import always_thinks
from engine.native.model.config import MINI_7B, R1_32B


def test_r1_without_its_template_begins_with_a_think_block(tmp_path: Path) -> None:
    assert always_thinks(tmp_path, R1_32B)
    assert not always_thinks(tmp_path, MINI_7B)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": None}))
    assert always_thinks(tmp_path, R1_32B)


def test_a_template_decides_where_there_is_one(tmp_path: Path) -> None:
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(json.dumps({"chat_template": "<|BOT|>assistant\n"}))
    assert not always_thinks(tmp_path, R1_32B)
    (tmp_path / "chat_template.jinja").write_text("<|BOT|>assistant\n<think>\n")
    assert always_thinks(tmp_path, MINI_7B)
