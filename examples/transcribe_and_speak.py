"""Read a text aloud into a file, and write down what is said in a file, with the openai SDK.

    pip install "openai>=3.0"
    python examples/transcribe_and_speak.py say "Good morning." morning.mp3
    python examples/transcribe_and_speak.py hear morning.mp3
    python examples/transcribe_and_speak.py hear morning.mp3 morning.vtt

The end of a file's name says what is made: mp3, opus, flac, wav, pcm or aac; txt, srt or vtt.
"""

import argparse
import os
from pathlib import Path

from openai import OpenAI


def say(client: OpenAI, text: str, path: Path, voice: str) -> None:
    """Speak ``text`` into a file; it grows while the server speaks."""
    with client.audio.speech.with_streaming_response.create(
        model="tts-1",
        voice=voice,
        input=text,
        response_format=path.suffix.lstrip("."),  # type: ignore[arg-type]
    ) as sound:
        sound.stream_to_file(path)


def hear(client: OpenAI, path: Path, written: Path | None) -> str:
    """Return the words of a recording; with ``written`` as a text or subtitles, also into it."""
    if written is None:  # word by word, as they are heard
        text = ""
        events = client.audio.transcriptions.create(model="whisper-1", file=path, stream=True)
        for event in events:
            if event.type == "transcript.text.delta":
                print(event.delta, end="", flush=True)
                text += event.delta
        print()
        return text
    kind = {".srt": "srt", ".vtt": "vtt"}.get(written.suffix, "text")
    text = client.audio.transcriptions.create(
        model="whisper-1",
        file=path,
        response_format=kind,  # type: ignore[call-overload]
    )
    written.write_text(str(text))
    return str(text)


def main() -> None:
    """See the first lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["say", "hear"])
    parser.add_argument("given", help="the text, or the recording")
    parser.add_argument("made", nargs="?", type=Path, help="the file to write")
    parser.add_argument("--url", default="http://127.0.0.1:8765/v1")
    parser.add_argument("--voice", default="alloy")
    options = parser.parse_args()
    client = OpenAI(base_url=options.url, api_key=os.environ.get("DUPLEX_API_KEY", "none"))
    if options.what == "hear":
        hear(client, Path(options.given), options.made)
    elif options.made is None:
        parser.error("say where to write the sound")
    else:
        say(client, options.given, options.made, options.voice)


if __name__ == "__main__":
    main()
