"""Embed the server in an asyncio program of your own.

python examples/embed_server.py [duplex.toml]
"""

import asyncio
import sys

from duplex import Server, load_config


async def main(path: str | None = None) -> None:
    """Serve while this program does something else, here: count the seconds."""
    async with Server(load_config(path)).listen() as running:
        print(f"call {running.url} or open {running.page}", flush=True)
        for second in range(1, 3600):
            await asyncio.sleep(1)
            print(f"{second} s", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
