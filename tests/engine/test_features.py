"""The log-mel spectrogram: its filters, and that a stream of it equals the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.features import (
    HOP_SAMPLES,
    SAMPLE_RATE_HZ,
    Float32,
    LogMel,
    log_mel,
    mel_bank,
    normalize,
)


def speechlike(seconds: float, seed: int = 0) -> Float32:
    """Bursts of a gliding harmonic tone over faint noise, as loud and as uneven as speech."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    phase = 2 * np.pi * (120 * t + 20 * np.sin(2 * t))
    tone = sum(np.sin(k * phase) / k for k in range(1, 12))
    loudness = np.clip(np.sin(2 * np.pi * 1.7 * t + seed), 0, None) * rng.uniform(0.05, 0.2)
    return (tone * loudness + rng.normal(0, 1e-3, len(t))).astype(np.float32)


def streamed(pcm: Float32, cuts: list[int], bins: int) -> tuple[Float32, float]:
    mel = LogMel(bins)
    state, parts = mel.open(), []
    for piece in np.split(pcm, sorted(cuts)):
        frames, state = mel.feed(piece, state)
        parts.append(frames)
    parts.append(mel.finish(state))
    return np.concatenate(parts, axis=1), state.maximum


# Values of librosa.filters.mel(sr=16000, n_fft=400, n_mels=bins), librosa 0.11.
@pytest.mark.parametrize(
    ("bins", "entries", "total"),
    [
        (80, {(0, 1): 0.024862595, (1, 1): 0.001990822, (79, 192): 0.0031647119}, 1.9990242),
        (128, {(0, 1): 0.012373987, (1, 1): 0.030392565, (127, 195): 0.0050416016}, 3.1909857),
    ],
)
def test_mel_bank_is_that_of_whisper(
    bins: int, entries: dict[tuple[int, int], float], total: float
) -> None:
    bank = mel_bank(bins)
    assert bank.shape == (bins, 201)
    assert bank.dtype == np.float32
    for place, value in entries.items():
        assert bank[place] == pytest.approx(value, rel=1e-6)
    assert bank.sum() == pytest.approx(total, rel=1e-6)


def test_frame_is_the_windowed_power_spectrum() -> None:
    """One inner frame against the definition, in double precision and without an FFT."""
    pcm = speechlike(0.5)
    frame = 17
    samples = pcm[frame * 160 - 200 : frame * 160 + 200].astype(np.float64)
    n = np.arange(400)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 400)
    dft = np.exp(-2j * np.pi * np.outer(np.arange(201), n) / 400) @ (samples * hann)
    expected = np.log10(np.maximum(mel_bank(80) @ np.abs(dft) ** 2, 1e-10))
    np.testing.assert_allclose(log_mel(pcm)[:, frame], expected, atol=1e-4)


def test_silence_is_the_floor_and_edges_are_reflected() -> None:
    assert log_mel(np.zeros(1600, np.float32)).min() == pytest.approx(-10.0)
    pcm = speechlike(0.2)
    mirrored = np.concatenate([pcm[1:401][::-1], pcm])  # 400 samples: not a multiple of the hop
    np.testing.assert_allclose(
        log_mel(pcm)[:, 0], log_mel(mirrored[80:])[:, 2], atol=1e-5
    )  # frame 2 of the second is centred on sample 0 of the first


@settings(max_examples=60, deadline=None)
@given(data=st.data(), bins=st.sampled_from([80, 128]))
def test_any_chunking_equals_the_whole(data: st.DataObject, bins: int) -> None:
    length = data.draw(st.integers(201, 8000))
    pcm = speechlike(0.5, seed=data.draw(st.integers(0, 5)))[:length]
    cuts = data.draw(st.lists(st.integers(0, length), max_size=12))
    frames, maximum = streamed(pcm, cuts, bins)
    whole = log_mel(pcm, bins)
    assert frames.shape == whole.shape == (bins, length // HOP_SAMPLES)
    np.testing.assert_allclose(frames, whole, atol=2e-5)
    assert maximum <= whole.max() + 2e-5  # the provisional frames are not in it


def test_state_is_a_value_and_frames_are_final() -> None:
    """Two futures of one state do not disturb each other or what came before."""
    mel = LogMel()
    first, state = mel.feed(speechlike(0.3), mel.open())
    kept = first.copy()
    loud, _ = mel.feed(np.ones(4000, np.float32), state)
    quiet, _ = mel.feed(np.zeros(4000, np.float32), state)
    again, _ = mel.feed(np.ones(4000, np.float32), state)
    np.testing.assert_array_equal(loud, again)
    assert np.abs(loud - quiet).max() > 1.0
    np.testing.assert_array_equal(first, kept)


def test_provisional_frames_do_not_end_the_stream() -> None:
    mel, pcm = LogMel(), speechlike(0.3)
    head, state = mel.feed(pcm[:2080], mel.open())
    assert mel.finish(state).shape[1] == 2080 // HOP_SAMPLES - head.shape[1] > 0
    tail, state = mel.feed(pcm[2080:], state)
    whole = np.concatenate([head, tail, mel.finish(state)], axis=1)
    np.testing.assert_allclose(whole, log_mel(pcm), atol=2e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 20), seconds=st.floats(1.5, 4.0))
def test_running_maximum_stays_near_the_clip_maximum(seed: int, seconds: float) -> None:
    """A frame normalised by the maximum so far differs only where it lies more than 8 below the
    clip's: the running maximum clips less, never more, and by no more than the maximum rose."""
    pcm = speechlike(seconds, seed)
    mel = LogMel()
    state, frames, online = mel.open(), [], []
    for piece in np.array_split(pcm, 12):
        new, state = mel.feed(piece, state)
        frames.append(new)
        online.append(normalize(new, state.maximum))
    whole = np.concatenate(frames, axis=1)
    offline = normalize(whole)
    difference = offline - np.concatenate(online, axis=1)
    first_maximum = float(frames[0].max())
    assert difference.min() >= -1e-6
    assert difference.max() <= (float(whole.max()) - first_maximum) / 4 + 1e-6
    assert np.all(difference[whole >= whole.max() - 8.0] == 0.0)


@pytest.mark.parametrize("shape", [(0,), (200,), (2, 1000)])
def test_unusable_audio_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="more than 200 mono samples"):
        log_mel(np.zeros(shape, np.float32))
