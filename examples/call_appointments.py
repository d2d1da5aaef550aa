"""Ring the appointment bot as Twilio would, speak to it, and keep what was heard.

    duplex serve --config examples/appointments.toml     # in one terminal
    python examples/call_appointments.py heard.wav        # in another

The caller's words are spoken by the project's own voice; the sound goes through mu-law at 8 kHz
both ways. With a server that has a TWILIO_AUTH_TOKEN, this signs with the same.
"""

import argparse
import asyncio
import os
from pathlib import Path

from client.telephone.twilio import phone_talk
from duplex.audio.files import write_wav
from duplex.cli.recordings import CLIENT_HZ, speaker
from duplex.config import Config

CALLER = (
    "An appointment on Tuesday at ten o'clock, please. My name is Robert Miller.",
    "Which times are free on Friday?",
    "Thank you, goodbye.",
)
LINE_HZ = 8_000


def main() -> None:
    """Speak, listen, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heard", type=Path, help="where what was heard goes, 8 kHz WAV")
    parser.add_argument("--url", default="ws://127.0.0.1:8765/twilio")
    options = parser.parse_args()
    speak = speaker(Config())
    turns = [speak(line) for line in CALLER]
    token = os.environ.get("TWILIO_AUTH_TOKEN")
    heard = asyncio.run(phone_talk(options.url, turns, CLIENT_HZ, token))
    write_wav(options.heard, heard, LINE_HZ)
    print(f"{len(heard) / LINE_HZ:.1f} s were heard, see {options.heard}")


if __name__ == "__main__":
    main()
