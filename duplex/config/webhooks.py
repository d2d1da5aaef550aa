"""``[[webhooks]]``: who is told what happens in calls."""

import os
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from duplex.config.section import Positive, PositiveFloat, Section

EventName = Literal[
    "call.started", "call.ended", "call.function_called", "call.recorded", "call.turn_ended"
]


class WebhookConfig(Section, frozen=True, kw_only=True):
    """One address that is sent events. See docs/operations.md."""

    url: str  # https://example.org/duplex
    secret_env: str = "DUPLEX_WEBHOOK_SECRET"  # the variable with its secret, whsec_...
    events: tuple[EventName, ...] = (
        "call.started",
        "call.ended",
        "call.function_called",
        "call.recorded",
    )
    timeout_s: PositiveFloat = 10.0  # of one try
    retry_s: Annotated[float, Meta(ge=0)] = 3600.0  # an event older than this is given up
    queue: Positive = 1000  # events that wait; more are dropped

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url {self.url!r} does not begin with https:// or http:// and a host")

    def secret(self) -> str:
        """What stands in the variable; reads the environment when it is called."""
        return os.environ.get(self.secret_env, "").strip()
