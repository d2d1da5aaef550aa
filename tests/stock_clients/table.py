"""Prints out/clients.json, which the tests of the stock clients write, as a Markdown table."""

import json
import sys
from pathlib import Path


def table(found: dict[str, dict[str, str]]) -> str:
    """A row for each client, a column for each feature."""
    features = list(dict.fromkeys(name for of in found.values() for name in of))
    head = ["client", *features]
    rows = [
        [client, *(of.get(name, "not tried") for name in features)] for client, of in found.items()
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1] if sys.argv[1:] else "out/clients.json").read_text())))
