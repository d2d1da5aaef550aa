"""What an INVITE tells of its call, as parameters of it."""

from aiosipua import SipRequest

from duplex.phone.events import CALLED, CALLER, TRACEPARENT


def told_by(invite: SipRequest) -> dict[str, str]:
    """Return who calls whom, which the caller's exchange vouches for or nobody, and the trace that
    the call is part of."""
    told = {TRACEPARENT: invite.get_header(TRACEPARENT)}
    for name, address in ((CALLER, invite.from_addr), (CALLED, invite.to_addr)):
        if address is not None and address.uri is not None:
            told[name] = address.uri.user or address.uri.host
    return {name: value for name, value in told.items() if value}
