"""The table ``[webrtc]`` of the configuration."""

from typing import Annotated

from msgspec import Meta

from duplex.config.section import Section, port_range
from duplex.errors import ConfigError


class WebRtcConfig(Section, frozen=True):
    """Calls of browsers over WebRTC. Needs the extra ``webrtc``."""

    enabled: bool = True  # false: POST /v1/realtime/calls is not answered
    listen: str = ""  # the address for sound; empty: all of this machine
    public_address: str = ""  # the address that clients are sent; empty: those listened on
    udp_ports: str = ""  # for sound: "40000-40100"; empty: any free
    stun: str = ""  # a server that tells our public address: "stun:stun.example.org:3478"
    turn: str = ""  # a relay: "turn:turn.example.org:3478?transport=udp"
    turn_user: str = ""
    turn_password_env: str = "DUPLEX_TURN_PASSWORD"  # the variable that holds the password
    silent_s: Annotated[float, Meta(gt=0)] = 15.0  # a call from which nothing comes is ended

    def check(self) -> None:
        """
        Raises:
            ConfigError: what stands here cannot be used.
        """
        self.ports()
        for option, value, kinds in (
            ("stun", self.stun, ("stun:",)),
            ("turn", self.turn, ("turn:", "turns:")),
        ):
            if value and not (value.startswith(kinds) and value.partition(":")[2].strip("/")):
                raise ConfigError(f"webrtc.{option}: {value!r} is not of the form {kinds[0]}HOST")

    def ports(self) -> range:
        """``udp_ports``; only 0 for any.

        Raises:
            ConfigError: it is no range.
        """
        if not self.udp_ports:
            return range(1)
        return port_range("webrtc.udp_ports", self.udp_ports)
