"""Makes the brain that runs on vLLM. Imports vllm inside the functions: it takes seconds."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from duplex.config import Config
from duplex.errors import ConfigError, ModelError
from duplex.model_store import ModelStore, Progress
from duplex.model_store.manifest import load_manifest
from duplex.toml_file import did_you_mean

if TYPE_CHECKING:
    from engine.vllm.brain import VllmBrain

TABLE = "brain.vllm"
_SPEECH_TOKENS = 20  # of one segment; the voice is another model


def model_dir(model: str, store: ModelStore, progress: Progress) -> Path:
    """The directory that vLLM loads: of a GGUF file, what is made of it.

    Raises:
        ModelError: it is missing, or it is a file of another kind.
    """
    if model.removeprefix("package:") not in load_manifest():
        directory = store.path(model)
        if (directory / "config.json").is_file():
            return directory
    from engine.vllm.folder import RECIPE, write_folder

    def build(target: Path, progress: Progress) -> None:
        with progress.task(f"writing {model} for vLLM") as task:

            def report(_: str, done: float) -> None:
                task.detail = f"{done:.0%}"

            found = sorted(store.path(model).glob("*.gguf"))
            if len(found) != 1:
                raise ModelError(f"{model} holds no config.json, and no single GGUF file")
            try:
                write_folder(found[0], target, report)
            except ValueError as error:
                raise ModelError(f"{model}: {error}") from error

    return store.derived(f"{model}-folder", RECIPE, [model], build, progress)


def check_options(config: Config) -> str:
    """Look at ``brain.vllm``; returns the version of vLLM.

    Raises:
        ConfigError: vLLM is not installed or cannot be imported, or knows no such option.
    """
    from engine.vllm.async_llm import OURS, engine_options

    try:
        known = engine_options()
        installed = version("vllm")
    except (ImportError, PackageNotFoundError) as error:
        raise ConfigError(f'brain.kind = "vllm": vLLM cannot be used: {error}') from error
    for name in config.brain.vllm:
        if name in OURS:
            instead = f": set {OURS[name]}" if OURS[name] else ""
            raise ConfigError(f"{TABLE}.{name} cannot be set{instead}")
        if name not in known:
            meant = did_you_mean(name, known)
            raise ConfigError(f"{TABLE}: vLLM {installed} has no option {name!r}{meant}")
    return installed


def load_vllm(config: Config, store: ModelStore, progress: Progress) -> "VllmBrain":
    """The brain of ``brain.kind = "vllm"``.

    Raises:
        ConfigError: as `check_options`.
        ModelError: vLLM cannot load the model with these options.
    """
    installed = check_options(config)
    from engine.native.minds import Pace
    from engine.vllm.brain import load_brain

    brain, native = config.brain, config.native
    pace = Pace(
        native.thought_tokens,
        native.speech_tokens or _SPEECH_TOKENS,
        speak_margin_s=native.speak_margin_s,
    )
    directory = model_dir(brain.model, store, progress)
    with progress.task(f"starting vLLM {installed} with {brain.model}"):
        try:
            return load_brain(directory, brain.vllm, context_tokens=brain.context(), pace=pace)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise ModelError(f"vLLM cannot load {brain.model}: {said}") from error
