"""What a server process holds, as the kernel and its own metrics page tell."""

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

_GAUGE = re.compile(r"^(duplex_tasks|duplex_sockets_open|duplex_calls_open) (\S+)$", re.MULTILINE)
_DROPPED = re.compile(r'^duplex_(?:dropped|refused)_total\{reason="([^"]+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Resources:
    """``dropped`` counts dropped and refused clients since the server began, by reason."""

    rss_mib: float
    fds: int
    threads: int
    tasks: int
    sockets: int
    calls: int
    dropped: dict[str, int]


async def resources(pid: int, url: str, key: str = "") -> Resources:
    """Look at the process that serves ``url``."""
    page = await asyncio.to_thread(_metrics, url, key)
    gauges = {name: int(float(value)) for name, value in _GAUGE.findall(page)}
    folder = Path("/proc") / str(pid)
    pages = int((folder / "statm").read_text().split()[1])
    return Resources(
        rss_mib=round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
        fds=len(list((folder / "fd").iterdir())),
        threads=len(list((folder / "task").iterdir())),
        tasks=gauges["duplex_tasks"],
        sockets=gauges["duplex_sockets_open"],
        calls=gauges["duplex_calls_open"],
        dropped={reason: int(float(count)) for reason, count in _DROPPED.findall(page)},
    )


def _metrics(url: str, key: str) -> str:
    base = url.replace("ws", "http", 1).removesuffix("/v1/realtime")
    with urlopen(
        Request(f"{base}/metrics", headers={"Authorization": f"Bearer {key}"}), timeout=10
    ) as answer:
        page: bytes = answer.read()
    return page.decode()
