"""The server on Ray Serve: each replica is an edge that holds its own calls.

    serve run docker.serve_app:app          # from the repository's root, with duplex-r1 installed
    serve deploy docker/serve.yaml

Serve keeps each socket with its replica and scales by open sockets. What it does not do is here:

- It answers a caller past ``max_ongoing_requests`` with silence or 500. So the server refuses
  first, with ``server_full`` and 1013: its ``max_calls`` is below Serve's bound.
- It does not tell a replica that it is to stop, and cuts its sockets after
  ``graceful_shutdown_timeout_s``. So each replica looks every second whether the controller has it
  as stopping, in a rolling update or when there are fewer calls, and then drains: answers are
  finished, and callers are told (1012). ``server.drain_s`` has to be less than that timeout.
- It does not let a single replica be taken out. ``python -m docker.serve_app drain REPLICA`` puts
  its name on a board, an actor of a name; that replica drains and ends, and Serve begins another.

The configuration is the file that DUPLEX_CONFIG names, or the defaults; the key is in
DUPLEX_API_KEY.
"""

import asyncio
import logging
import os
import signal
import sys
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.context import _get_global_client  # what `serve.status` uses, which names no replica
from ray.serve.exceptions import RayServeException

from duplex import AsgiApp, load_config

logger = logging.getLogger(__name__)

_BOARD, _NAMESPACE = "duplex-drain", "duplex"
_LOOK_S = 1.0
_STOPPING = "STOPPING"


@ray.remote(num_cpus=0)
class DrainBoard:
    """Names of the replicas that are to drain."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def put(self, name: str) -> None:
        """Have that replica drain."""
        self._names.add(name)

    def names(self) -> set[str]:
        """All that are to drain."""
        return self._names


def board() -> Any:
    """The one board of the cluster."""
    options = {"name": _BOARD, "namespace": _NAMESPACE, "lifetime": "detached"}
    return DrainBoard.options(get_if_exists=True, **options).remote()  # type: ignore[attr-defined]


class Edge:
    """The ASGI application of one replica, which drains when the board says so."""

    def __init__(self, inner: AsgiApp) -> None:
        self._inner = inner
        self._watching: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        await self._inner(scope, receive, send)

    async def _watch(self) -> None:
        context = serve.get_replica_context()
        me, place = context.replica_id.unique_id, (context.app_name, context.deployment)
        while True:
            try:
                if await asyncio.to_thread(_is_stopping, me, *place):
                    await self._inner.drain()
                    return  # Serve ends it
                if me in await board().names.remote():
                    break
            except (RayError, RayServeException) as error:
                logger.warning("it is not known whether to drain: %s", error)
            await asyncio.sleep(_LOOK_S)
        await self._inner.drain()
        os.kill(os.getpid(), signal.SIGTERM)


def _is_stopping(replica: str, app: str, deployment: str) -> bool:
    """Whether the controller is about to stop ``replica``. Blocks."""
    applications = _get_global_client().get_serve_details()["applications"]
    replicas = (
        applications.get(app, {}).get("deployments", {}).get(deployment, {}).get("replicas", ())
    )
    return any(each["replica_id"] == replica and each["state"] == _STOPPING for each in replicas)


def configured() -> Edge:
    """A replica of the server as it is configured."""
    return Edge(AsgiApp(load_config(os.environ.get("DUPLEX_CONFIG") or None)))


app = serve.deployment(
    serve.ingress(configured)(),
    name="Edge",
    max_ongoing_requests=16,  # sockets and plain requests; above server.max_calls
    graceful_shutdown_timeout_s=60.0,
    autoscaling_config={
        "min_replicas": 1,
        "max_replicas": 8,
        "target_ongoing_requests": 3,
        "upscale_delay_s": 5.0,
        "downscale_delay_s": 600.0,
    },
).bind()

if __name__ == "__main__":
    if sys.argv[1:2] != ["drain"] or len(sys.argv) != 3:
        sys.exit("usage: python -m docker.serve_app drain REPLICA")
    ray.init(address="auto")
    ray.get(board().put.remote(sys.argv[2]))
