"""What mkdocs does differently from GitHub with links that leave docs/.

On GitHub they lead to the file. In the site there is no such file: pictures are copied in, and
other links keep only their text, or lead to the repository if `repo_url` is set. A comment
``<!-- include: FILE -->``, which GitHub does not show, becomes the file.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_LINK = re.compile(r"(!?)\[([^\]\[]*)\]\(((?:\.\./)+[^)\s#]*)(#[^)\s]*)?\)")
_INCLUDE = re.compile(r"<!-- include: (\S+)\.(\w+) -->")
_PICTURES = "pictures"


def on_files(files: Any, config: Any) -> Any:
    """Add the pictures that the benchmarks drew."""
    root = Path(config["docs_dir"]).parent
    for path in sorted((root / "benchmarks" / "results").glob("*.svg")):
        file = File.generated(config, f"{_PICTURES}/{path.name}", abs_src_path=str(path))
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Replace links that leave docs/, and comments that name a file."""
    folder = posixpath.dirname(page.file.src_uri)
    root = Path(config["docs_dir"]).parent

    def included(match: re.Match[str]) -> str:
        name, kind = match.groups()
        return f"```{kind}\n{(root / f'{name}.{kind}').read_text('utf-8')}```"

    def replaced(match: re.Match[str]) -> str:
        bang, text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join("docs", folder, target))
        if path.startswith("docs/"):
            return match[0]
        if bang:
            up = posixpath.relpath(_PICTURES, folder or ".")
            return f"![{text}]({up}/{posixpath.basename(path)})"
        if config["repo_url"]:
            return f"[{text}]({config['repo_url'].rstrip('/')}/blob/main/{path}{anchor or ''})"
        return text

    return _INCLUDE.sub(included, _LINK.sub(replaced, markdown))
