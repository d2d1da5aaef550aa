"""What the documentation says of files, commands, options and figures is so."""

import ast
import contextlib
import io
import re
import runpy
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measurements.__main__ import MADE_BY, changes
from benchmarks.measurements.figures import UnknownFigure, replace_figures
from duplex.cli.main import main

ROOT = Path(__file__).parents[2]
LINKS: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "tools" / "links.py"))
RECORDS: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "tools" / "records.py"))
_RECORDS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_OF_THE_PAST = {"CHANGELOG.md", "decisions", "measurements"}


def _pages() -> list[Path]:
    """The pages that speak of the present."""
    found: list[Path] = list(LINKS["pages"](ROOT))
    return [path for path in found if not _OF_THE_PAST & {path.name, path.parent.name}]


def _fences(language: str) -> Iterator[tuple[Path, str]]:
    for path in _pages():
        for name, code in _FENCE.findall(path.read_text("utf-8")):
            if name == language:
                yield path, code


def _commands(program: str) -> Iterator[tuple[Path, list[str]]]:
    """The command lines of a program in the pages, in fences and in running text."""
    pattern = re.compile(rf"^(?:\.venv/bin/)?{program} ([^#`\n]+)")
    for path in _pages():
        text = path.read_text("utf-8")
        lines = [line for _, code in _FENCE.findall(text) for line in code.splitlines()]
        for line in [*lines, *_CODE.findall(_FENCE.sub("", text))]:
            if (match := pattern.match(line)) is not None:
                yield path, match[1].split()


@cache
def _help(*arguments: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
        main([*arguments, "--help"])
    return out.getvalue()


def test_every_link_leads_somewhere() -> None:
    problems = [
        problem for page in LINKS["pages"](ROOT) for problem in LINKS["problems"](page, ROOT)
    ]
    assert problems == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A head\n[a](#a-head) [b](#b) [c](c.md) `[d](d.md)`\n```\n[e](e.md)\n```\n")
    found = [problem.split(": ", 1)[1] for problem in LINKS["problems"](page, tmp_path)]
    assert found == ["#b: there is no such heading", "c.md: there is no such file"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_the_readme_has_three_figures_and_each_is_made() -> None:
    table = (ROOT / "README.md").read_text("utf-8").split("## Three figures")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and line.strip("| ")]
    assert len(rows) == 3
    assert all("<!-- figure: " in row for row in rows)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {words[0] for _, words in _commands("make") if re.fullmatch(r"[a-z-]+", words[0])}
    assert {"run", "test", "check", "docs"} <= named
    assert named - targets == set()


def test_commands_and_their_options_exist() -> None:
    wrong = []
    for path, words in _commands("duplex"):
        command, options = words[0], [word for word in words[1:] if word.startswith("--")]
        if command not in _help():
            wrong.append(f"{path.name}: duplex {command}")
        wrong += [
            f"{path.name}: duplex {command} {option}"
            for option in options
            if option.partition("=")[0] not in _help(command)
        ]
    assert wrong == []


def _options() -> dict[str, Any]:
    return tomllib.loads((ROOT / "duplex.example.toml").read_text("utf-8"))


def test_options_of_the_configuration_exist() -> None:
    options = _options()
    wrong = []
    for path in _pages():
        text = path.read_text("utf-8")
        for section, key in re.findall(r"(?<![\w./])(\w+)\.(\w+)(?==| ?=|`)", text):
            if section in options and section != "assistants" and key not in options[section]:
                wrong.append(f"{path.name}: {section}.{key}")
        for section, key in re.findall(r"`\[(\w+)\] (\w+)", text):
            if key not in options.get(section, {}):
                wrong.append(f"{path.name}: [{section}] {key}")
    assert wrong == []


def test_files_that_are_named_exist() -> None:
    pattern = re.compile(r"(?:duplex|engine|tts|client|tests|benchmarks|examples|docs)/[\w./-]*")
    missing = {
        f"{path.name}: {name}"
        for path in _pages()
        for name in _CODE.findall(path.read_text("utf-8"))
        if pattern.fullmatch(name) and not (ROOT / name).exists()
    }
    assert missing == set()


def test_examples_in_python_are_python() -> None:
    examples = list(_fences("python"))
    assert examples
    for path, code in examples:
        compile(code, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_examples_in_toml_are_toml() -> None:
    for _, code in _fences("toml"):
        tomllib.loads(code)


def test_measurements_and_figures_are_up_to_date() -> None:
    assert [path.relative_to(ROOT).as_posix() for path in changes(ROOT)] == []


def test_every_page_of_measurements_is_made_but_the_historical_one() -> None:
    pages = (ROOT / "docs" / "measurements").glob("*.md")
    typed = [page.name for page in pages if MADE_BY not in page.read_text("utf-8")]
    assert typed == ["historical.md"]


def test_a_figure_gets_its_value() -> None:
    text = "It takes <!-- figure: v2v-p50 -->1 ms<!-- /figure -->."
    made = replace_figures(text, {"v2v-p50": "550 ms"})
    assert made == "It takes <!-- figure: v2v-p50 -->550 ms<!-- /figure -->."
    with pytest.raises(UnknownFigure, match="v2v-p50"):
        replace_figures(text, {})


def test_no_line_begins_with_a_comment_of_a_figure() -> None:
    """Markdown would take the whole line for HTML."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    wrong = [
        f"{path.name}: {line}"
        for path in paths
        for line in path.read_text("utf-8").splitlines()
        if re.match(r"[ >]*(- |\d+\. )?<!-- figure", line)
    ]
    assert wrong == []


def test_every_decision_record_is_in_the_index() -> None:
    """`make docs` writes it."""
    index = ROOT / "docs" / "decisions" / "index.md"
    assert index.read_text("utf-8") == RECORDS["listed"](ROOT)


@pytest.mark.parametrize("record", _RECORDS, ids=lambda record: record.stem)
def test_a_decision_record_has_its_parts(record: Path) -> None:
    text = record.read_text("utf-8")
    assert text.startswith("# ")
    for part in ("Status", "Context", "Decision", "Consequences"):
        assert part in text
