"""The answers of a server to requests that begin no call."""

from collections.abc import Callable

from duplex.call_records.pages import CallPages, exchanges
from duplex.call_records.shelf import Shelf
from duplex.config import Config
from duplex.dialogue.parts import Parts
from duplex.metrics import Metrics
from duplex.phone.providers.webhooks import CODECS as PHONE_PATHS
from duplex.server import http
from duplex.server.admission import Admission
from duplex.server.gate import SocketLimits
from duplex.server.keys import ClientSecrets, Keys
from duplex.server.load import Load
from duplex.server.pages import load_pages
from duplex.server.registry import CallRegistry
from duplex.server.share import SharePages
from duplex.server.status import StatusPages
from duplex.speech_api import routes as speech_routes
from duplex.speech_api.desk import Desk


def plain_routes(
    config: Config,
    parts: Parts,
    keys: Keys,
    secrets: ClientSecrets,
    *,
    calls: CallRegistry,
    sockets: SocketLimits,
    load: Load,
    metrics: Metrics,
    admission: Admission,
    shelf: Shelf | None,
    phone_page: http.Handler,
    stops: Callable[[], bool],
    otherwise: str,
) -> http.Routes:
    """Return them all. ``shelf`` is where calls are recorded, ``otherwise`` is said of paths that
    nothing answers."""
    max_calls = config.server.max_calls
    status = StatusPages(
        keys, parts.models, parts.voice_names, max_calls, calls, sockets, load, metrics, stops
    )
    call_pages = CallPages(keys, admission, calls, shelf)
    handlers = {
        **call_pages.with_page(dict(load_pages().handlers)),
        **status.handlers,
        **SharePages(config.server).handlers,
        **dict.fromkeys(PHONE_PATHS, phone_page),
        **speech_routes.handlers(parts),
        http.SECRETS_PATH: http.SecretsPage(keys, secrets, parts.defaults).answer,
    }
    desk = Desk(max_calls, keys, calls, admission)
    taken = {**speech_routes.exchanges(desk, parts), **exchanges(call_pages)}
    return http.Routes(handlers, otherwise, taken)
