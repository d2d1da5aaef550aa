"""The one request that is made of Twilio's REST API: to go on with a call elsewhere."""

import base64
import logging
import urllib.error
import urllib.request
from functools import partial
from http import HTTPStatus
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

from duplex.logs import AnyLogger
from duplex.phone.events import Started
from duplex.phone.threads import in_thread

logger = logging.getLogger(__name__)

_TIMEOUT_S = 10.0


class TwilioSwitchboard:
    """Transfers by an update of the call: its stream ends, and ``<Dial>`` follows."""

    def __init__(self, api: str, token: str) -> None:
        self._api = api.rstrip("/")
        self._token = token

    async def transfer(self, call: Started, number: str, log: AnyLogger = logger) -> bool:
        """Connect the caller with ``number``; return whether Twilio has accepted that."""
        return await in_thread(partial(self._transfer, call, number, log))

    def _transfer(self, call: Started, number: str, log: AnyLogger) -> bool:
        account, call_id = quote(call.account_id, safe=""), quote(call.call_id, safe="")
        url = f"{self._api}/2010-04-01/Accounts/{account}/Calls/{call_id}.json"
        twiml = f"<Response><Dial>{escape(number)}</Dial></Response>"
        basic = base64.b64encode(f"{call.account_id}:{self._token}".encode()).decode()
        request = urllib.request.Request(
            url, urlencode({"Twiml": twiml}).encode(), {"Authorization": f"Basic {basic}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except urllib.error.HTTPError as error:
            log.warning("Twilio refused a transfer: status %d", error.code)
        except OSError as error:
            log.warning("Twilio could not be asked for a transfer: %s", error)
        return False
