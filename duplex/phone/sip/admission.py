"""SIP calls as calls of the server: admitted and counted like all others.

SIP's packages are an optional extra and slow to import: they are imported only if SIP is enabled.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from duplex.config import Config
from duplex.errors import ConfigError
from duplex.metrics import Metrics
from duplex.phone.calls import PhoneCalls
from duplex.server.keys import Principal
from duplex.server.quota import Allowance
from duplex.server.registry import CallRegistry

if TYPE_CHECKING:
    from duplex.phone.sip.call import SipCall
    from duplex.phone.sip.listener import SipListener

_BUSY_HERE, _UNAVAILABLE = 486, 503


def check(config: Config) -> None:
    """
    Raises:
        ConfigError: SIP is enabled, and its packages are missing or its settings are wrong.
    """
    if not config.sip.enabled:
        return
    try:
        from duplex.phone.sip.listener import check_sip
    except ImportError as error:
        raise ConfigError(f"sip.enabled needs: pip install 'duplex-r1[sip]' ({error})") from error
    check_sip(config.sip)


@contextlib.asynccontextmanager
async def listening(
    config: Config,
    metrics: Metrics,
    calls: CallRegistry,
    phone: PhoneCalls,
    is_stopping: Callable[[], bool],
) -> AsyncGenerator["SipListener | None", None]:
    """Take SIP calls while the block runs, if SIP is enabled; yields None if it is not.

    Raises:
        ConfigError: as `check`, or the address cannot be used.
    """
    check(config)
    if not config.sip.enabled:
        yield None
        return
    listener = _listener(config, metrics, calls, phone, is_stopping)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


def _listener(
    config: Config,
    metrics: Metrics,
    calls: CallRegistry,
    phone: PhoneCalls,
    is_stopping: Callable[[], bool],
) -> "SipListener":
    from duplex.phone.sip.call import SipCodec
    from duplex.phone.sip.listener import Refused, SipListener

    principal = Principal("sip", Allowance())

    def admit() -> Refused | None:
        if is_stopping():
            return Refused(_UNAVAILABLE, "stopping")
        refusal = calls.refusal()
        if refusal is None:
            return None
        calls.refuse(refusal)
        return Refused(_BUSY_HERE if refusal.kind == "full" else _UNAVAILABLE, refusal.kind)

    def choose(dialled: str) -> str:
        return dialled if dialled in config.assistants else config.sip.assistant

    async def serve(call: "SipCall") -> None:
        await phone.hold(
            call, SipCodec(call), principal, "sip", switchboard=call, call_id=call.call_id
        )

    return SipListener(config.sip, metrics, admit, choose, serve, calls.new_id)
