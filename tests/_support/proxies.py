"""Real reverse proxies before a server: haproxy and nginx."""

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
Kind = Literal["haproxy", "nginx"]
_WAIT_S = 30.0


def config_of(kind: Kind, folder: Path, port: int, server: int, *, strips: bool, tls: str) -> str:
    """A configuration that passes /voice/ on, as their manuals have it."""
    if kind == "haproxy":
        crt = f" ssl crt {tls}" if tls else ""
        strip = "  http-request replace-path /voice/(.*) /\\1" if strips else ""
        return f"""defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend in
  bind 127.0.0.1:{port}{crt}
  option forwardfor
  http-request set-header X-Forwarded-Proto {"https" if tls else "http"}
  http-request deny if !{{ path -m beg /voice }}
{strip}
  default_backend duplex
backend duplex
  server one 127.0.0.1:{server}
"""
    slash = "/" if strips else ""
    return f"""daemon off;
pid {folder}/pid;
error_log {folder}/log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder};
  proxy_temp_path {folder};
  fastcgi_temp_path {folder};
  uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    location /voice/ {{
      proxy_pass http://127.0.0.1:{server}{slash};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""


@contextlib.asynccontextmanager
async def proxied(
    kind: Kind, folder: Path, server: int, *, strips: bool = True, tls: str = ""
) -> AsyncIterator[int]:
    """Run a proxy that passes /voice/ on to the port ``server`` while the block runs; yields its
    port. With ``tls``, a PEM file, it is asked over TLS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    path = folder / f"{kind}.cfg"
    path.write_text(config_of(kind, folder, port, server, strips=strips, tls=tls))
    program = HAPROXY if kind == "haproxy" else NGINX
    assert program is not None
    switches = ["-f", str(path)] if kind == "haproxy" else ["-c", str(path)]
    process = await asyncio.create_subprocess_exec(program, *switches)
    try:
        async with asyncio.timeout(_WAIT_S):
            while True:
                assert process.returncode is None, f"{kind} has ended"
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
