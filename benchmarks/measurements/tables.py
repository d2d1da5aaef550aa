"""Markdown tables, and numbers as people read them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

NOT_MEASURED = "–"
BENCHMARKS = Path(__file__).parents[1]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table. Cells are texts; a ``|`` in one is escaped."""
    lines = [_row(head), "|" + "---|" * len(head)]
    return [*lines, *(_row(row) for row in rows)]


def ms(value: float | None) -> str:
    """Milliseconds, without decimals."""
    return NOT_MEASURED if value is None else f"{value:.0f} ms"


def pair_ms(first: float | None, second: float | None) -> str:
    """Two percentiles in one cell."""
    if first is None or second is None:
        return NOT_MEASURED
    return f"{first:.0f} / {second:.0f} ms"


def percent(fraction: float | None, decimals: int = 1) -> str:
    """A fraction as a percentage."""
    return NOT_MEASURED if fraction is None else f"{100 * fraction:.{decimals}f} %"


def share(count: int, of: int) -> str:
    """A count and what it is of."""
    return f"{count} of {of}"


def source(path: str, record: dict[str, Any], study: str = "", **more: str) -> list[str]:
    """Where a table comes from: its file, and what the file says of machine, commit and date.
    ``study`` is the module that made it, by its last name, and its options."""
    known = {
        "machine": _machine(record.get("machine")),
        "commit": _commit(record.get("commit")),
        "date": str(record["made_at"])[:10] if "made_at" in record else None,
        **more,
    }
    told = [f"{name}: {value or 'not recorded'}" for name, value in known.items()]
    file = f"[`benchmarks/results/{path}`](../../benchmarks/results/{path})"
    lines = ["", f"Source: {file}; " + "; ".join(told) + "."]
    if study:
        lines.append(f"Reproduce with `python -m {_module(study)}`.")
    return [*lines, ""]


def _module(study: str) -> str:
    name, _, options = study.partition(" ")
    (path,) = BENCHMARKS.rglob(f"{name}.py")
    dotted = ".".join(path.relative_to(BENCHMARKS.parent).with_suffix("").parts)
    return f"{dotted} {options}".rstrip()


def _machine(machine: Any) -> str | None:
    if isinstance(machine, dict):
        return (
            f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
            f"{machine['system'].split()[0]}, {machine['python']}"
        )
    return None if machine is None else str(machine)


def _commit(commit: str | None) -> str | None:
    """The first twelve digits; a ``+`` says that the tree held more than that commit."""
    if commit is None:
        return None
    return f"`{commit[:12]}`" + (" with changes" if commit.endswith("+") else "")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
