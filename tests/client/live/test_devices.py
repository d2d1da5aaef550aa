"""A device is found by its number or by a part of its name, or the choice is explained."""

import pytest

from client.live.devices import Device, DeviceError, choose, describe

DEVICES = [
    Device(0, "HDA Intel: Analog", 2, 2, 48_000),
    Device(1, "HDMI Out", 0, 8, 44_100),
    Device(2, "USB Headset", 1, 2, 16_000, frozenset({"input"})),
    Device(3, "USB Headset Pro", 1, 0, 48_000),
]


@pytest.mark.parametrize(
    ("direction", "wanted", "index"),
    [
        ("input", None, 2),
        ("output", None, 0),  # no default: the first
        ("input", "0", 0),
        ("output", "hdmi", 1),
        ("input", "usb headset", 2),  # the exact name, though a longer one begins with it
        ("input", "Pro", 3),
        ("output", "usb", 2),
    ],
)
def test_choice(direction, wanted, index):
    assert choose(DEVICES, direction, wanted).index == index


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("usb", r"more than one microphone fits 'usb'(?s:.*)2  USB Headset(?s:.*)3  USB"),
        ("1", r"no microphone fits '1'(?s:.*)0  HDA"),  # it is an output
        ("9", r"no microphone fits '9'"),
        ("phone", r"no microphone fits 'phone'(?s:.*)0  HDA"),
    ],
)
def test_no_choice(wanted, words):
    with pytest.raises(DeviceError, match=words):
        choose(DEVICES, "input", wanted)


def test_no_microphone_at_all():
    with pytest.raises(DeviceError, match="this machine has no microphone"):
        choose([DEVICES[1]], "input", None)


def test_the_list():
    assert describe(DEVICES)[1:3] == [
        "  1  HDMI Out  44100 Hz  loudspeaker",
        "  2  USB Headset  16000 Hz  microphone (default), loudspeaker",
    ]
