"""A set-up tool that cuts a Piper voice (one VITS graph) into three.

    text.onnx     phonemes -> prior mean, log deviation, and frames per phoneme
    flow.onnx     prior sample -> latent frames
    vocoder.onnx  latent frames -> audio, 256 samples a frame

Between the first two `tts.piper.voice` expands phonemes to frames and draws the noise itself. So
speech is the same each time, and the time of each word is known from the synthesis. Flow and
vocoder see a fixed number of frames, so they can run on a few at a time.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

TEXT_FILE, FLOW_FILE, VOCODER_FILE = "text.onnx", "flow.onnx", "vocoder.onnx"
CONFIG_FILE = "voice.json"
RECIPE = "text, flow, vocoder; 1"  # change it when `split` writes something else

# Names of tensors in graphs exported by Piper's trainer (VITS, opset 15).
PHONEMES, LENGTHS, SCALES = "input", "input_lengths", "scales"
DURATION_NOISE = "/dp/RandomNormalLike_output_0"  # [1, 2, T]
PRIOR_MEAN, PRIOR_LOG_DEVIATION = "/enc_p/Split_output_0", "/enc_p/Split_output_1"  # [1, 192, T]
DURATIONS = "/Ceil_output_0"  # [1, 1, T], frames
PRIOR_SAMPLE = "/Add_output_0"  # [1, 192, F]
FRAME_MASK = "/Cast_2_output_0"  # [1, 1, F], ones
LATENT = "/Mul_7_output_0"  # [1, 192, F]
AUDIO = "output"  # [1, 1, 1, 256 F]

_PARTS = (
    (
        TEXT_FILE,
        [PHONEMES, LENGTHS, SCALES, DURATION_NOISE],
        [PRIOR_MEAN, PRIOR_LOG_DEVIATION, DURATIONS],
    ),
    (FLOW_FILE, [PRIOR_SAMPLE, FRAME_MASK], [LATENT]),
    (VOCODER_FILE, [LATENT], [AUDIO]),
)


def split(source: Path, target: Path, progress: Callable[[float], None] = lambda _: None) -> None:
    """Write the parts of the voice ``source`` (``NAME.onnx`` with ``NAME.onnx.json`` next to
    it) into the directory ``target``. It has to be new or empty, and is filled completely or not
    at all.

    ``progress`` is called with the done fraction, 0 to 1. Needs the ``onnx`` package, which
    serving does not.

    Raises:
        FileExistsError: ``target`` is there and not empty.
        ValueError: ``source`` is not a Piper graph with the expected tensors.
        ImportError: ``onnx`` is not installed.
    """
    try:
        from onnx.utils import extract_model
    except ImportError as error:
        raise ImportError("cutting a Piper voice needs onnx: pip install onnx") from error
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty")
    progress(0.0)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for done, (name, inputs, outputs) in enumerate(_PARTS, start=1):
            try:
                extract_model(str(source), str(scratch / name), inputs, outputs)
            except (KeyError, ValueError) as error:
                raise ValueError(f"{source} is not a Piper voice as expected: {error}") from error
            progress(done / len(_PARTS))
        shutil.copyfile(source.with_name(source.name + ".json"), scratch / CONFIG_FILE)
        scratch.chmod(0o755)  # mkdtemp's is private to the user
        if target.exists():
            target.rmdir()
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # gone already if all went well
