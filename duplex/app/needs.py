"""What the configured parts need besides models: said before anything is downloaded for them."""

from importlib.util import find_spec

from duplex.app.build_remote import REMOTE
from duplex.app.build_voices import needs_espeak
from duplex.app.plugins import Given, is_made
from duplex.config import Config
from duplex.errors import ConfigError
from duplex.model_store.manifest import load_manifest

# An extra is called as the kind of brain that needs it.
_MODULES = {
    "native": ("torch", "safetensors", "yaml"),
    "huggingface": ("torch", "transformers"),
}
# No extra: it brings a torch of its own, which is chosen with it.
_VLLM = "pip install 'vllm>=0.32,<0.34' (without a GPU: docs/other-models.md)"


def check_needs(config: Config, given: Given) -> None:
    """
    Raises:
        ConfigError: a package or a library is missing, or the model is not one of the brain's kind;
            the message says what to do.
    """
    if is_made(config, given, "brain"):
        kind = config.brain.kind
        if kind == "vllm" and find_spec("vllm") is None:
            raise ConfigError(f'brain.kind = "vllm" needs vLLM: {_VLLM}')
        missing = [name for name in _MODULES.get(kind, ()) if find_spec(name) is None]
        if missing:
            raise ConfigError(
                f'brain.kind = "{kind}" needs {" and ".join(missing)}: '
                f"pip install 'duplex-r1[{kind}]'"
            )
        if kind == "huggingface":
            _check_huggingface(config)
    is_voice_made = is_made(config, given, "voice") and config.voice.kind != REMOTE
    if is_voice_made and needs_espeak(config.voice):
        _check_espeak()


def _check_huggingface(config: Config) -> None:
    known = load_manifest()
    for model in (config.brain.model, *config.brain.others):
        if model.removeprefix("package:") in known:
            raise ConfigError(
                f'brain.model = "{model}" is a GGUF file, for brain.kind = "embedded" or "native"; '
                f'"huggingface" takes "hub:org/name", such as "hub:Qwen/Qwen3-0.6B", or "path:DIR"'
            )


def _check_espeak() -> None:
    from ctypes.util import find_library

    if find_library("espeak-ng") is None:
        raise ConfigError(
            "this voice needs the library espeak-ng: apt-get install libespeak-ng1, "
            "or brew install espeak-ng"
        )
