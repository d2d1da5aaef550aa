"""Which microphone and which loudspeaker: chosen by number or by a part of the name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from client.realtime import ClientError

Direction = Literal["input", "output"]
WORDS = {"input": "microphone", "output": "loudspeaker"}


class DeviceError(ClientError):
    """There is no such device, or it cannot be used; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the sound system. ``default_for`` holds the directions it is used for when
    none is named."""

    index: int
    name: str
    inputs: int  # channels
    outputs: int  # channels
    rate_hz: int  # its own
    default_for: frozenset[Direction] = frozenset()

    def channels(self, direction: Direction) -> int:
        """How many channels it has in a direction; 0: it is not for that."""
        return self.inputs if direction == "input" else self.outputs


def choose(devices: Sequence[Device], direction: Direction, wanted: str | None) -> Device:
    """The device that ``wanted`` names: a number, a name or a part of one; None: the default.

    Raises:
        DeviceError: none or several fit.
    """
    word = WORDS[direction]
    usable = [device for device in devices if device.channels(direction)]
    if not usable:
        raise DeviceError(f"this machine has no {word}")
    if wanted is None:
        preferred = [device for device in usable if direction in device.default_for]
        return (preferred or usable)[0]
    if wanted.isdecimal():
        fitting = [device for device in usable if device.index == int(wanted)]
    else:
        name = wanted.casefold()
        fitting = [device for device in usable if device.name.casefold() == name] or [
            device for device in usable if name in device.name.casefold()
        ]
    if len(fitting) == 1:
        return fitting[0]
    found = "no" if not fitting else "more than one"
    lines = "\n".join(f"  {line}" for line in describe(fitting or usable))
    raise DeviceError(f"{found} {word} fits {wanted!r}. There are:\n{lines}")


def describe(devices: Sequence[Device]) -> list[str]:
    """A line for each device."""
    lines = []
    for device in devices:
        uses = [
            WORDS[direction] + (" (default)" if direction in device.default_for else "")
            for direction in ("input", "output")
            if device.channels(direction)
        ]
        lines.append(f"{device.index:>3}  {device.name}  {device.rate_hz} Hz  {', '.join(uses)}")
    return lines
