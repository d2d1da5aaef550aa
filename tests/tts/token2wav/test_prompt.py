"""A voice prompt from a WAV file: the spectra, the two networks, the file it is kept in."""

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper

from tests._support.token2wav_checkpoint import random_prompt
from tts.token2wav.audio import (
    flow_mel,
    kaldi_fbank,
    resample,
    slaney_bank,
    whisper_mel,
)
from tts.token2wav.prompt import (
    SPEAKER_FILE,
    TOKENIZER_FILE,
    VoicePrompt,
    load_prompt,
    prompt_from_recording,
    read_mono,
    read_prompt,
)

pytestmark = pytest.mark.torch

Float32 = np.ndarray


@pytest.fixture(scope="module")
def glide() -> Float32:
    """One second at 16 kHz: a tone that rises and one that stays."""
    t = np.arange(16_000) / 16_000
    rising = 0.3 * np.sin(2 * np.pi * (200 * t + 300 * t * t))
    return (rising + 0.1 * np.sin(2 * np.pi * 2500 * t)).astype(np.float32)


def test_fbank_is_that_of_kaldi(glide: Float32) -> None:
    """Values of kaldi-native-fbank 1.23 with 80 bins, no dither, else defaults."""
    fbank = kaldi_fbank(glide)
    assert fbank.shape == (98, 80)
    expected = {
        (0, 5): 0.2916,
        (0, 60): -15.9424,  # the floor
        (50, 20): -6.9581,
        (97, 0): -10.5887,
        (97, 79): -15.9424,
    }
    assert {place: fbank[place] for place in expected} == pytest.approx(expected, abs=2e-3)
    assert fbank.mean() == pytest.approx(-11.201475, abs=1e-4)


def test_mel_is_that_of_the_flow(glide: Float32) -> None:
    """Values of stepaudio2-minicpmo 0.1.1, flashcosyvoice.utils.audio.mel_spectrogram."""
    mel = flow_mel(glide)  # 16,000 samples, taken for 24 kHz
    assert mel.shape == (33, 80)
    expected = {(0, 5): 0.2121, (10, 20): -6.5694, (32, 0): -2.3405, (32, 79): -5.1871}
    assert {place: mel[place] for place in expected} == pytest.approx(expected, abs=1e-3)
    assert mel.mean() == pytest.approx(-8.821678, abs=1e-4)


def test_mel_bank_is_that_of_librosa() -> None:
    """librosa 0.11: filters.mel(sr=24000, n_fft=1920, n_mels=80, fmin=0, fmax=8000)."""
    bank = slaney_bank(24_000, 1920, 80, 8000.0)
    assert bank.shape == (80, 961)
    assert bank.sum() == pytest.approx(6.3998914, rel=1e-6)


def test_tokenizer_mel_is_whispers(glide: Float32) -> None:
    """One frame against the definition, without an FFT; floor and scale of the whole."""
    mel = whisper_mel(glide)
    assert mel.shape == (128, 100)
    n = np.arange(400)
    dft = np.exp(-2j * np.pi * np.outer(np.arange(201), n) / 400)
    samples = glide[17 * 160 - 200 : 17 * 160 + 200] * (0.5 - 0.5 * np.cos(2 * np.pi * n / 400))
    power = slaney_bank(16_000, 400, 128, 8000.0) @ np.abs(dft @ samples) ** 2
    log = np.log10(np.maximum(power, 1e-10))
    loudest = float(mel.max()) * 4 - 4
    np.testing.assert_allclose(mel[:, 17], (np.maximum(log, loudest - 8) + 4) / 4, atol=1e-4)
    assert mel.min() == pytest.approx((loudest - 8 + 4) / 4, abs=1e-5)


@pytest.mark.parametrize(
    ("rates", "count", "expected"),
    [
        ((16_000, 24_000), 100, {0: 0.00035538, 50: 0.24466076, 149: 0.21219075}),
        ((44_100, 16_000), 441, {0: 0.04944382, 50: -0.31734079, 159: -0.28794289}),
    ],
)
def test_resampling_is_that_of_torchaudio(
    glide: Float32, rates: tuple[int, int], count: int, expected: dict[int, float]
) -> None:
    """Values of torchaudio 2.11's functional.resample with its defaults."""
    out = resample(glide[:count], *rates)
    assert len(out) == max(expected) + 1
    assert {place: out[place] for place in expected} == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def wav(tmp_path: Path, glide: Float32) -> Callable[..., Path]:
    def write(
        name: str = "voice.wav", seconds: float = 1.0, rate: int = 16_000, channels: int = 1
    ) -> Path:  # fmt: skip
        pcm = (np.resize(glide, round(seconds * rate)) * 32767).astype("<i2")
        path = tmp_path / name
        with wave.open(str(path), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(np.repeat(pcm, channels).tobytes())
        return path

    return write


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    """Stand-ins with the inputs and outputs of the two real networks: every fourth frame of one
    mel bin as a code; the loudest of each fbank bin, mapped to 192."""
    directory = tmp_path / "token2wav"
    directory.mkdir()
    frames, lengths = (
        helper.make_tensor_value_info("feats", TensorProto.FLOAT, [1, 128, "T"]),
        helper.make_tensor_value_info("feats_length", TensorProto.INT32, [1]),
    )
    constants = {
        "starts": np.array([3, 0]), "ends": np.array([4, 2**31]), "axes": np.array([1, 2]),
        "steps": np.array([1, 4]), "scale": np.array(1000.0, np.float32), "one": np.array([1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Slice", ["feats", "starts", "ends", "axes", "steps"], ["bin"]),
        helper.make_node("Squeeze", ["bin", "one"], ["flat"]),
        helper.make_node("Abs", ["flat"], ["positive"]),
        helper.make_node("Mul", ["positive", "scale"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["codes"], to=TensorProto.INT64),
    ]
    codes = helper.make_tensor_value_info("codes", TensorProto.INT64, [1, "N"])
    _save(directory / TOKENIZER_FILE, nodes, [frames, lengths], codes, constants)
    features = helper.make_tensor_value_info("feats", TensorProto.FLOAT, [1, "T", 80])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 192])
    nodes = [
        helper.make_node("ReduceMax", ["feats", "one"], ["loudest"], keepdims=0),
        helper.make_node("MatMul", ["loudest", "weight"], ["embedding"]),
    ]
    constants = {"one": np.array([1]), "weight": np.eye(80, 192, dtype=np.float32)}
    _save(directory / SPEAKER_FILE, nodes, [features], embedding, constants)
    return directory


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    constants: dict[str, np.ndarray],
) -> None:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "test", inputs, [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def test_a_prompt_is_three_views_of_one_file(
    wav: Callable[..., Path], networks: Path, glide: Float32
) -> None:
    prompt = read_prompt(wav(seconds=1.005), networks)
    pcm, rate = read_mono(wav(seconds=1.005))
    assert rate == 16_000
    np.testing.assert_array_equal(
        prompt.codes, np.abs(whisper_mel(pcm)[3, ::4] * 1000).astype(np.int64)
    )
    assert len(prompt.codes) == 25
    fbank = kaldi_fbank(pcm)
    np.testing.assert_allclose(
        prompt.speaker[:80], (fbank - fbank.mean(axis=0)).max(axis=0), atol=1e-4
    )
    np.testing.assert_allclose(prompt.mel, flow_mel(resample(pcm, 16_000, 24_000))[:50])


def test_a_mel_that_is_short_is_held(wav: Callable[..., Path], networks: Path) -> None:
    prompt = prompt_from_recording(wav(seconds=1.03, rate=24_000), networks)
    assert len(prompt.codes) == 26  # 103 frames
    assert len(prompt.mel) == 52  # where the audio has 51
    np.testing.assert_array_equal(prompt.mel[51], prompt.mel[50])
    assert not np.array_equal(prompt.mel[50], prompt.mel[49])


def test_channels_are_averaged(wav: Callable[..., Path]) -> None:
    mono, _ = read_mono(wav("mono.wav"))
    stereo, rate = read_mono(wav("stereo.wav", channels=2))
    assert rate == 16_000
    np.testing.assert_array_equal(mono, stereo)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("voice.wav", "FLOAT"), ("voice.wav", "PCM_24"), ("voice.flac", "PCM_16")],
)
def test_a_voice_may_come_in_any_format_without_losses(
    wav: Callable[..., Path], tmp_path: Path, networks: Path, name: str, subtype: str
) -> None:
    plain = prompt_from_recording(wav("plain.wav"), networks)
    samples, rate = read_mono(tmp_path / "plain.wav")
    soundfile.write(tmp_path / name, samples, rate, subtype=subtype)
    other = prompt_from_recording(tmp_path / name, networks)
    np.testing.assert_array_equal(other.codes, plain.codes)
    np.testing.assert_array_equal(other.mel, plain.mel)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seconds": 0.4}, "lasts 0.4 s"),
        ({"seconds": 31}, "lasts 31.0 s"),
    ],
)
def test_unfit_files_are_refused(
    wav: Callable[..., Path], networks: Path, settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        prompt_from_recording(wav(**settings), networks)


def test_what_is_no_sound_and_what_is_missing_is_named(
    wav: Callable[..., Path], networks: Path, tmp_path: Path
) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"noise\.wav is no sound file"):
        prompt_from_recording(noise, networks)
    (networks / SPEAKER_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=r"campplus\.onnx is missing"):
        prompt_from_recording(wav(), networks)


def test_networks_that_were_swapped_are_refused(wav: Callable[..., Path], networks: Path) -> None:
    (networks / SPEAKER_FILE).replace(networks / TOKENIZER_FILE)
    with pytest.raises(ValueError, match="has 1 inputs instead of 2"):
        prompt_from_recording(wav(), networks)


def test_a_prompt_is_kept_in_a_file(tmp_path: Path) -> None:
    prompt = random_prompt()
    prompt.save(tmp_path / "prompt.npz")
    kept = read_prompt(tmp_path / "prompt.npz", tmp_path)
    for name in ("codes", "speaker", "mel"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(prompt, name))
    np.savez(tmp_path / "other.npz", codes=prompt.codes)
    with pytest.raises(ValueError, match=r"other\.npz is no voice prompt"):
        load_prompt(tmp_path / "other.npz")


def test_prompts_that_do_not_fit_together_are_refused() -> None:
    good = random_prompt()
    with pytest.raises(ValueError, match="20 codes beside 39"):
        VoicePrompt(good.codes, good.speaker, good.mel[:-1])
    with pytest.raises(ValueError, match="types"):
        VoicePrompt(good.codes.astype(np.float32), good.speaker, good.mel)
    with pytest.raises(ValueError, match="codes \\[T\\]"):
        VoicePrompt(good.codes, good.speaker[None], good.mel)
