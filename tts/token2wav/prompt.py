"""The voice of token2wav: a few seconds of a speaker, in three representations."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray

from tts.token2wav.audio import flow_mel, kaldi_fbank, resample, whisper_mel

TOKENIZER_FILE = "speech_tokenizer_v2_25hz.onnx"
SPEAKER_FILE = "campplus.onnx"
FRAMES_PER_CODE = 2
LONGEST_S = 30.0  # the tokenizer's window
SHORTEST_S = 0.5


@dataclass(frozen=True, slots=True)
class VoicePrompt:
    """A prompt: ``codes`` int64 [T] at 25 Hz, ``speaker`` float32 [192], ``mel`` float32
    [2 * T, 80] at 50 Hz of the same audio.

    Raises:
        ValueError: a shape or type is wrong.
    """

    codes: NDArray[np.int64]
    speaker: NDArray[np.float32]
    mel: NDArray[np.float32]

    def __post_init__(self) -> None:
        kinds = [str(array.dtype) for array in (self.codes, self.speaker, self.mel)]
        if kinds != ["int64", "float32", "float32"]:
            raise ValueError(f"a voice prompt of types {', '.join(kinds)}")
        if (self.codes.ndim, self.speaker.ndim, self.mel.ndim) != (1, 1, 2):
            raise ValueError("a voice prompt is codes [T], speaker [192] and mel [2 * T, 80]")
        if len(self.mel) != FRAMES_PER_CODE * len(self.codes):
            raise ValueError(f"{len(self.codes)} codes beside {len(self.mel)} mel frames")

    def save(self, path: Path) -> None:
        """Write it as ``.npz``, for use without the two networks that made it."""
        np.savez(path, codes=self.codes, speaker=self.speaker, mel=self.mel)


def load_prompt(path: Path) -> VoicePrompt:
    """A prompt that `VoicePrompt.save` wrote.

    Raises:
        ValueError: the file has another content.
        OSError: the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return VoicePrompt(arrays["codes"], arrays["speaker"], arrays["mel"])
    except KeyError as error:
        raise ValueError(f"{path} is no voice prompt: {error}") from error


def read_prompt(path: Path, directory: Path) -> VoicePrompt:
    """A prompt from an ``.npz`` file as it is, or from a recording: see `load_prompt` and
    `prompt_from_recording` for what they raise."""
    return load_prompt(path) if path.suffix == ".npz" else prompt_from_recording(path, directory)


def prompt_from_recording(path: Path, directory: Path) -> VoicePrompt:
    """The voice of a recording, by the two networks of a ``token2wav`` directory.

    Raises:
        ValueError: the file is no recording of 0.5 to 30 s, or a network is not the one meant.
        OSError: a file cannot be opened, or libsndfile is missing.
    """
    pcm, rate = read_mono(path)
    seconds = len(pcm) / rate
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise ValueError(f"{path} lasts {seconds:.1f} s; a voice needs {SHORTEST_S} to {LONGEST_S}")
    narrow = resample(pcm, rate, 16_000)
    codes = _codes(directory / TOKENIZER_FILE, narrow)
    speaker = _speaker(directory / SPEAKER_FILE, narrow)
    mel = flow_mel(resample(pcm, rate, 24_000))
    frames = FRAMES_PER_CODE * len(codes)
    mel = np.pad(mel, ((0, max(0, frames - len(mel))), (0, 0)), mode="edge")[:frames]
    return VoicePrompt(codes, speaker, mel)


def read_mono(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples in [-1, 1], the channels averaged, and the rate of a file that libsndfile reads: WAV,
    FLAC, Ogg, MP3 and others.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be opened, or libsndfile is missing.
    """
    import soundfile  # a prompt that was saved needs none

    with path.open("rb") as file:
        try:
            samples, rate = soundfile.read(file, dtype="float64", always_2d=True)
        except soundfile.LibsndfileError as error:
            reason = error.error_string
            raise ValueError(f"{path} is no sound file that can be read: {reason}") from error
    return samples.mean(axis=1).astype(np.float32), int(rate)


def _session(path: Path, inputs: int) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; a voice from a recording needs it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    if len(session.get_inputs()) != inputs:
        raise ValueError(f"{path} has {len(session.get_inputs())} inputs instead of {inputs}")
    return session


def _codes(path: Path, pcm: NDArray[np.float32]) -> NDArray[np.int64]:
    session = _session(path, 2)
    mel = whisper_mel(pcm)[None]
    mel_name, length_name = (item.name for item in session.get_inputs())
    length = np.array([mel.shape[2]], np.int32)
    out = session.run(None, {mel_name: mel, length_name: length})[0]
    return np.asarray(out).reshape(-1).astype(np.int64)


def _speaker(path: Path, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    session = _session(path, 1)
    features = kaldi_fbank(pcm)
    features = features - features.mean(axis=0, keepdims=True)
    out = session.run(None, {session.get_inputs()[0].name: features[None]})[0]
    return np.asarray(out, np.float32).reshape(-1)
