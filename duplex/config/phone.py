"""The tables ``[phone]``, ``[sip]`` and ``[assistants]`` of the configuration."""

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from duplex.config.section import NonNegative, PositiveFloat, Section, port_range
from duplex.errors import ConfigError
from duplex.sentences import Sentence, Sentences


class PhoneConfig(Section, frozen=True):
    """Calls of providers of phone numbers, and what they may cost."""

    public_url: str = ""  # how the provider reaches this server: https://bot.example.org
    trust_forwarded: bool = False  # else learn it from a proxy's X-Forwarded-Host and -Proto
    twilio_token_env: str = "TWILIO_AUTH_TOKEN"  # the variable with the account's auth token
    twilio_api: str = "https://api.twilio.com"  # for transfers
    assistant: str = ""  # the one that answers if the call names none; empty: the server's defaults
    max_call_s: PositiveFloat = 1800.0  # a longer call is ended with a goodbye; at least 20
    cost_per_minute: Annotated[float, Meta(ge=0)] = 0.0  # what a minute costs you, in any currency
    max_cost: Annotated[float, Meta(ge=0)] = 0.0  # of one call; 0: no limit
    minutes_per_day: Annotated[float, Meta(ge=0)] = 0.0  # of all calls of Twilio; 0: no limit
    hold_s: PositiveFloat = 120.0  # a caller on hold is asked after so long
    out_of_time: str = "I am sorry, our time is up. Goodbye."  # said at the end of max_call_s
    busy: str = "All lines are busy. Please call again later."  # said when the server is full
    trouble: str = "I am sorry, something went wrong. Please say that again."  # an answer failed
    not_understood: Sentences = ()  # as in `dialogue`; empty: that, or the built-in
    no_answer: Sentence = "I am sorry, I have no answer to that."  # as in `dialogue`

    @property
    def is_public(self) -> bool:
        """Whether others reach this server through a proxy, wherever it listens."""
        return bool(self.public_url) or self.trust_forwarded

    def limit_s(self) -> float:
        """How long a call may last, by the time and by the cost."""
        if not (self.max_cost and self.cost_per_minute):
            return self.max_call_s
        return min(self.max_call_s, 60 * self.max_cost / self.cost_per_minute)


class AssistantConfig(Section, frozen=True):
    """A voice assistant that answers the phone. Options that are empty are as in other calls."""

    instructions: str = ""
    voice: str = ""
    model: str = ""
    greeting: str = ""  # said first, word by word
    goodbye: str = ""  # said if the model hangs up without a word
    tools: tuple[Literal["hang_up", "transfer", "hold"], ...] = ()  # what it may do with the line
    transfer_to: dict[str, str] = msgspec.field(default_factory=dict)  # name -> phone number
    functions: str = ""  # a Python file of what it can do besides; see examples/appointments.py


class SipConfig(Section, frozen=True):
    """Calls of phones and exchanges over SIP, with UDP and G.711. Needs the extra ``sip``."""

    enabled: bool = False
    listen: str = "127.0.0.1:5060"  # others than this machine may call only with the password
    public_address: str = ""  # the address that phones are sent; empty: that of `listen`
    rtp_ports: str = ""  # for sound: "16384-16484"; empty: any free
    user: str = "duplex"
    password_env: str = "DUPLEX_SIP_PASSWORD"  # the variable with the password, if it is set
    register: str = ""  # our number at a provider, which then calls us: sip:USER@HOST[:PORT]
    register_password_env: str = "DUPLEX_SIP_REGISTER_PASSWORD"  # the variable with its password
    assistant: str = ""  # who answers a number that is no assistant's; empty: [phone]'s
    max_calls: NonNegative = 0  # at a time; 0: as many as the server holds
    ring_s: Annotated[float, Meta(ge=0)] = 0.0  # before a call is answered
    silent_s: PositiveFloat = 60.0  # a call from which nothing comes any more is ended

    def address(self) -> tuple[str, int]:
        """``listen`` as host and port.

        Raises:
            ConfigError: it is no IPv4 address and port.
        """
        host, _, port = self.listen.rpartition(":")
        try:
            return str(ipaddress.IPv4Address(host)), int(port)
        except ValueError:
            raise ConfigError(f"sip.listen: {self.listen!r} is not an address:port") from None

    def ports(self) -> tuple[int, int]:
        """``rtp_ports`` as the first and the last; (0, 0) for any.

        Raises:
            ConfigError: it is no range.
        """
        if not self.rtp_ports:
            return 0, 0
        ports = port_range("sip.rtp_ports", self.rtp_ports)
        return ports[0], ports[-1]
