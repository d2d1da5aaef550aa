"""The one JSON that a run writes, as it goes: what is in it stays if the process dies."""

import json
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Record:
    """Results by task, ``model/section``; what failed and what was left out, with the reason."""

    path: Path
    data: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Record":
        """The file's, or a new one."""
        if path.exists():
            return cls(path, json.loads(path.read_text()))
        return cls(path, {"results": {}, "partial": {}, "failed": {}, "skipped": {}, "seconds": {}})

    def has(self, task: str) -> bool:
        """Whether the task's fate is known."""
        is_done = any(task in self.data[kind] for kind in ("results", "failed", "skipped"))
        return is_done and (task not in self.data["partial"] or task in self.data["failed"])

    def keep(self, task: str, found: Any) -> None:
        """Write what a task has found so far; `put` its whole result when it ends."""
        self.data["partial"][task] = list(found)
        self.put("results", task, found)

    def put(self, kind: str, task: str, value: Any) -> None:
        """Add to ``results``, ``failed``, ``skipped`` or ``seconds`` and write the file."""
        self.data[kind][task] = value
        self.save()

    def save(self) -> None:
        """Write the file, so that a reader sees the old or the new one."""
        self.data["written"] = datetime.now(UTC).isoformat(timespec="seconds")
        fresh = self.path.with_suffix(".part")
        fresh.write_text(json.dumps(self.data, indent=1) + "\n")
        fresh.replace(self.path)


def circumstances(device: torch.device) -> dict[str, Any]:
    """What figures mean nothing without."""
    found: dict[str, Any] = {
        "commit": _output("git", "rev-parse", "HEAD"),
        "changed": bool(_output("git", "status", "--porcelain", "--untracked-files=no")),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: _version(name) for name in ("torch", "triton", "transformers", "numpy")},
        "device": "cpu",
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        query = ("--query-gpu=driver_version", "--format=csv,noheader")
        found |= {
            "device": properties.name,
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "driver": _output("nvidia-smi", *query),
        }
    return found


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
