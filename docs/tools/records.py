"""Write the list of decision records into docs/decisions/index.md, from their titles.

python docs/tools/records.py
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
INDEX = Path("docs/decisions/index.md")
_LIST = re.compile(r"(?<=<!-- records -->\n).*?(?=<!-- /records -->)", re.DOTALL)


def main() -> None:
    """Write it."""
    (ROOT / INDEX).write_text(listed(ROOT), encoding="utf-8")


def listed(root: Path) -> str:
    """The index with all records of the tree at ``root``."""
    lines = ["", "| | decision |", "|---|---|"]
    for path in sorted((root / INDEX).parent.glob("[0-9]*.md")):
        title = path.read_text("utf-8").partition("\n")[0].lstrip("# ")
        number = int(path.name.partition("-")[0])
        title = re.sub(r"^\d+[.:]?\s+", "", title)
        lines.append(f"| {number} | [{title}]({path.name}) |")
    rows = "\n".join([*lines, "", ""])
    return _LIST.sub(lambda _: rows, (root / INDEX).read_text("utf-8"))


if __name__ == "__main__":
    main()
