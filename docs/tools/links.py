"""Check the links of all Markdown files: that files are there, and that anchors are headings.

    python docs/tools/links.py      # exit code 1 if one leads nowhere

Only links within the repository are followed, so it needs no network.
"""

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^()\s]+)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*$", re.MULTILINE)
_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1`*\s*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:")


def main() -> int:
    """Print each link that leads nowhere."""
    broken = [problem for path in pages(ROOT) for problem in problems(path, ROOT)]
    sys.stdout.writelines(f"{problem}\n" for problem in broken)
    return bool(broken)


def pages(root: Path) -> Iterator[Path]:
    """The Markdown files of the repository."""
    for folder in (".", "docs", "benchmarks", "examples", "duplex", ".github"):
        pattern = "*.md" if folder == "." else "**/*.md"
        yield from sorted((root / folder).glob(pattern))


def problems(path: Path, root: Path) -> Iterator[str]:
    """What is wrong with the links of one page."""
    text = _CODE.sub(_blank, _FENCE.sub(_blank, path.read_text("utf-8")))
    for match in _LINK.finditer(text):
        target = match[1].strip("<>")
        if _ELSEWHERE.match(target):
            continue
        line = text.count("\n", 0, match.start()) + 1
        where = f"{path.relative_to(root)}:{line}: {target}"
        name, _, anchor = unquote(target).partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.is_relative_to(root) or not file.exists():
            yield f"{where}: there is no such file"
        elif anchor and (file.suffix != ".md" or anchor not in anchors(file)):
            yield f"{where}: there is no such heading"


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors that GitHub gives a page's headings."""
    text = _FENCE.sub(_blank, path.read_text("utf-8"))
    found: list[str] = []
    for heading in _HEADING.findall(text):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        repeats = found.count(slug)
        found += [slug] if not repeats else [slug, f"{slug}-{repeats}"]
    return frozenset(found)


def _blank(match: re.Match[str]) -> str:
    """As many lines, without their content: what is code holds no links."""
    return "\n" * match[0].count("\n")


if __name__ == "__main__":
    sys.exit(main())
