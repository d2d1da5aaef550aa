"""A replica for Ray Serve with scripted parts, imported in the replica's process."""

import json
import os
from typing import Any

from ray import serve

from docker.serve_app import Edge
from duplex import AsgiApp, Config
from duplex.config import LimitsConfig, ServerConfig
from duplex.testing import LoudnessVad, ScriptedVoice
from tests._support.parrot import HelloEar, Parrot

WHO = "/who"


class TellsWho:
    """An application that also tells which replica it is, and its process."""

    def __init__(self, inner: Edge) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != WHO:
            await self._inner(scope, receive, send)
            return
        name = serve.get_replica_context().replica_id.unique_id
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps([name, os.getpid()]).encode()})


def scripted() -> TellsWho:
    """It holds two calls and drains for eight seconds."""
    config = Config(
        server=ServerConfig(max_calls=2, drain_s=8.0),
        limits=LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0),
    )
    parts = {"ear": HelloEar(), "brain": Parrot(), "voice": ScriptedVoice(), "vad": LoudnessVad()}
    return TellsWho(Edge(AsgiApp(config, **parts)))
