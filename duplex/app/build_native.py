"""Makes the parts of the native engine. Imports torch inside the functions."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from duplex.config import Config
from duplex.errors import ConfigError, ModelError
from duplex.model_store import ModelStore, Progress

if TYPE_CHECKING:
    import torch

    from engine.native.load import NativeModel
    from engine.native.model.sampling_defaults import SamplingDefaults
    from tts.types import Voice

LATENT_MS = 80  # of audio in one latent of Step-Audio's adaptor


def load_own_voice(config: Config, store: ModelStore) -> "Voice":
    """The voice of a Step-Audio checkpoint that speaks itself.

    Raises:
        ConfigError: no voice prompt is given.
        ModelError: the checkpoint has no voice, or its files or the prompt cannot be used.
    """
    from tts.token2wav.prompt import read_prompt
    from tts.token2wav.voice import TokenVoice

    if not config.native.voice_prompt:
        raise ConfigError("native.speaks needs native.voice_prompt")
    directory = store.path(config.brain.model) / "token2wav"
    device, dtype = _device(config)
    try:
        prompt = read_prompt(Path(config.native.voice_prompt).expanduser(), directory)
        return TokenVoice.load(directory, prompt, device=device, dtype=dtype)
    except (ValueError, OSError) as error:
        raise ModelError(f"{directory}: {error}") from error


def load_native(config: Config, store: ModelStore, progress: Progress) -> "NativeModel":
    """The model of the native engine, on its device.

    Raises:
        ConfigError: a package or the device that it needs is missing.
        ModelError: the checkpoint cannot be used.
    """
    try:
        from engine.native.audio_stream import AudioConfig
        from engine.native.device_setup import NativeOptions
        from engine.native.load import load_model
        from engine.native.minds import Pace
        from engine.native.runtime.planning import Limits
    except ImportError as error:
        raise ConfigError(f'brain.kind = "native" needs the extra "native": {error}') from error
    brain, native = config.brain, config.native
    device, dtype = _device(config)
    options = NativeOptions(
        device=device,
        dtype=dtype,
        weight_bits=native.weight_bits,
        context_tokens=brain.context(),
        cache_tokens=native.cache_tokens,
        calls=config.server.max_calls,
        limits=Limits(prefill_beside_decode=native.prefill_tokens),
        audio=AudioConfig(
            chunk=max(1, native.chunk_ms // LATENT_MS),
            lookahead=native.lookahead_ms // LATENT_MS,
            hearing=native.hearing,
        ),
        pace=Pace(
            native.thought_tokens,
            native.speech_tokens or (100 if native.speaks else 20),
            speak_margin_s=native.speak_margin_s,
        ),
        encoder_graphs=native.encoder_graphs,
        speaks=native.speaks,
    )
    with progress.task(f"loading {brain.model}") as task:

        def report(what: str, done: float) -> None:
            task.detail = f"{what}, {done:.0%}"

        try:
            return load_model(store.path(brain.model), options, report)
        except (ValueError, OSError) as error:
            raise ModelError(f"{brain.model}: {error}") from error


def native_sampling(config: Config, checkpoint: Path | None) -> "SamplingDefaults":
    """How a native brain's tokens are drawn: as configured, else as its checkpoint wants.

    Raises:
        ModelError: the checkpoint's files are malformed.
    """
    from engine.native.model.sampling_defaults import SamplingDefaults, sampling_defaults

    try:
        found = SamplingDefaults() if checkpoint is None else sampling_defaults(checkpoint)
    except (ValueError, OSError) as error:
        raise ModelError(f"{checkpoint}: {error}") from error
    options = {name: getattr(config.native, name) for name in asdict(found)}
    return replace(found, **{name: value for name, value in options.items() if value != "auto"})


def fit_table(checkpoint: str, gpu_gb: float) -> list[str]:
    """Lines that say what fits on a GPU: weights, and conversations beside them.

    Raises:
        ConfigError: the checkpoint is not known, or the memory is no size.
    """
    from engine.native.fit import shapes_of, table

    if not 0 < gpu_gb < 10_000:
        raise ConfigError(f"--gpu-gb {gpu_gb:g}: give the GPU's memory in GB")
    try:
        shapes = shapes_of(checkpoint)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    return table(shapes, gpu_gb)


def _device(config: Config) -> "tuple[str, torch.dtype]":
    """The device and the precision of the native engine; sets the number of threads of torch."""
    import torch

    device, name = config.native.device, config.native.dtype
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "auto":
        name = "bfloat16" if device.startswith("cuda") else "float32"
    torch.set_num_threads(config.brain.threads)
    dtype: torch.dtype = getattr(torch, name)
    return device, dtype
