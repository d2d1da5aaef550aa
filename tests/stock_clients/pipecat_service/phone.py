"""pipecat's serializers of phone providers as a peer: JSON lines in, what they make of it out.

Each line names a provider and its id of the stream, the bytes a provider sent (as text or, in
base64, binary), its first message of the stream, and the audio that is to be played. The answer:
whose start that is taken for, what was read of the former, as
("audio", base64 of PCM16 at the provider's rate) or ("key", key), and the messages that pipecat
itself would have sent, of the audio and of an interruption.
"""

import asyncio
import base64
import json
import sys

from pipecat.frames.frames import (
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.runner.utils import _detect_transport_type_from_message
from pipecat.serializers.exotel import ExotelFrameSerializer
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.serializers.vonage import VonageFrameSerializer


def serializer(provider, stream, rate):
    """As an application makes it that hangs up by itself."""
    if provider == "telnyx" or provider == "telnyx-a":
        law = "PCMA" if provider == "telnyx-a" else "PCMU"
        params = TelnyxFrameSerializer.InputParams(auto_hang_up=False)
        return TelnyxFrameSerializer(stream, law, law, params=params)
    kind = {
        "twilio": TwilioFrameSerializer,
        "plivo": PlivoFrameSerializer,
        "exotel": ExotelFrameSerializer,
        "vonage": VonageFrameSerializer,
    }[provider]
    if provider == "vonage":
        return kind(kind.InputParams(vonage_sample_rate=rate))
    if provider == "exotel":
        return kind(stream)
    return kind(stream, params=kind.InputParams(auto_hang_up=False))


def portable(message):
    """A message as JSON can hold it."""
    if isinstance(message, bytes):
        return {"binary": base64.b64encode(message).decode()}
    return {"text": message}


async def answer(request):
    """Read what came, write what goes."""
    rate = request["rate"]
    codec = serializer(request["provider"], request["stream"], rate)
    await codec.setup(StartFrame(audio_in_sample_rate=rate, audio_out_sample_rate=rate))
    read = []
    for message in request["received"]:
        raw = message.get("text")
        frame = await codec.deserialize(raw if raw else base64.b64decode(message["binary"]))
        if isinstance(frame, InputAudioRawFrame):
            read.append(["audio", base64.b64encode(frame.audio).decode()])
        elif isinstance(frame, InputDTMFFrame):
            read.append(["key", frame.button.value])
    pcm = base64.b64decode(request["play"])
    played = await codec.serialize(OutputAudioRawFrame(pcm, rate, 1))
    cleared = await codec.serialize(InterruptionFrame())
    start = request["start"]
    known = _detect_transport_type_from_message(json.loads(start)) if start else "unknown"
    return {"known": known, "read": read, "played": portable(played), "cleared": portable(cleared)}


for line in sys.stdin:
    print(json.dumps(asyncio.run(answer(json.loads(line)))), flush=True)
