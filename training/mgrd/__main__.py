"""Teach small models to reason about sound, and judge the claims::

python -m training.mgrd run --scale S --seed 0 --out DIR         # the recipe, or an ablation of it
python -m training.mgrd cognition --scale S --seed 0 --out DIR   # from denials to preferences
python -m training.mgrd study --scale XS --seeds 0 1 2 --out DIR  # all that the claims need
python -m training.mgrd export STAGE.safetensors --scale S --to CHECKPOINT
python -m training.mgrd report DIR                               # mgrd.json and mgrd.html

A run that was stopped goes on where it was when the command is given again.
"""

import argparse
import logging
import sys
import warnings
from pathlib import Path
from typing import get_args

from duplex.app import build
from duplex.cli.recordings import CachedSpeaker
from duplex.config import Config, VoiceConfig
from duplex.model_store import ModelStore, Progress
from training.mgrd.config import CLAIMS, SCALES, Reward, Select, Thoughts, Wish

WHISPER = "whisper-tiny.en"
TEXT_MODEL = "qwen2.5-coder-0.5b"
VOICE = "piper-joe"


def main() -> int:
    """Do what is asked."""
    wanted = _arguments().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
    warnings.simplefilter("ignore")  # of the trainers, about what they will be
    if wanted.command == "report":
        from training.mgrd.report import write_report

        print(write_report(wanted.folder))
        return 0
    if wanted.command == "export":
        return _export(wanted)
    if wanted.command == "study":
        from training.mgrd.study import study

        study(_workshop(wanted), wanted.seeds, wanted.claims)
        return 0
    from training.mgrd.stages import Run

    run = Run(
        _workshop(wanted),
        Wish(
            SCALES[wanted.scale],
            wanted.seed,
            getattr(wanted, "reward", "correct+format"),
            getattr(wanted, "select", "3-6"),
            getattr(wanted, "thoughts", "grounded"),
            getattr(wanted, "rounds", 0),
        ),
        getattr(wanted, "tasks", "sounds"),
    )
    stages = run.cognition() if wanted.command == "cognition" else run.recipe()
    for name, figures in stages.items():
        if "test" in figures:
            test = figures["test"]
            print(
                f"{name}: accuracy {test['accuracy']:.3f} of {test['questions']} "
                f"(chance {test['chance']:.3f}), thoughts {test['thinks']:.3f}"
            )
        else:
            print(f"{name}: {figures}")
    return 0


def _workshop(wanted: argparse.Namespace):  # type: ignore[no-untyped-def]
    from training.mgrd.features import FrozenEar
    from training.mgrd.stages import Workshop
    from training.mgrd.whisper_tower import load_tower

    store, scale = _store(), SCALES[wanted.scale]
    store.ensure([WHISPER], Progress(sys.stderr))
    ear = FrozenEar(lambda: load_tower(store.path(WHISPER)), WHISPER, wanted.out / "frames")
    gguf = None
    if scale.decoder is None:
        store.ensure([TEXT_MODEL], Progress(sys.stderr))
        (gguf,) = store.path(TEXT_MODEL).glob("*.gguf")
    speaker = CachedSpeaker(Config(voice=VoiceConfig(model=VOICE)))
    return Workshop(wanted.out, scale, speaker, ear, 384, gguf, wanted.threads)


def _export(wanted: argparse.Namespace) -> int:
    from training.mgrd.checkpoint import export
    from training.mgrd.hearing import SoundTable
    from training.mgrd.policy import new_policy
    from training.mgrd.whisper_tower import load_tower

    store = _store()
    tower = load_tower(store.path(WHISPER))
    scale = SCALES[wanted.scale]
    (gguf,) = store.path(TEXT_MODEL).glob("*.gguf") if scale.decoder is None else (None,)
    policy = new_policy(scale, SoundTable(tower.shape.state), 0, gguf)
    policy.load(wanted.weights)
    export(policy, tower, wanted.to)
    print(f"wrote {wanted.to}: duplex serve --brain path:{wanted.to}")
    return 0


def _store() -> ModelStore:
    return build.open_store(Config())


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.mgrd", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--scale", choices=SCALES, default="S")
    common.add_argument("--out", type=Path, required=True, metavar="DIR")
    common.add_argument("--threads", type=int, default=1, help="that make sounds (default 1)")
    one = argparse.ArgumentParser(add_help=False, parents=[common])
    one.add_argument("--seed", type=int, default=0, help="of weights and draws")
    run = commands.add_parser("run", parents=[one], help="the recipe, or an ablation of it")
    run.add_argument("--reward", choices=get_args(Reward), default="correct+format")
    run.add_argument("--select", choices=get_args(Select), default="3-6", help="right answers of 8")
    run.add_argument("--thoughts", choices=get_args(Thoughts), default="grounded")
    run.add_argument("--rounds", type=int, choices=range(4), default=1, help="of distillation")
    run.add_argument(
        "--tasks",
        choices=("sounds", "claims"),
        default="sounds",
        help="claims: sentences about their own sound, true or not",
    )
    commands.add_parser("cognition", parents=[one], help="filter denials of hearing, then DPO")
    every = commands.add_parser("study", parents=[common], help="all runs that the claims need")
    every.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    every.add_argument("--claims", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    export = commands.add_parser("export", help="write a checkpoint for the native engine")
    export.add_argument("weights", type=Path)
    export.add_argument("--scale", choices=SCALES, default="S")
    export.add_argument("--to", type=Path, required=True, metavar="DIR")
    report = commands.add_parser("report", help="judge the claims by all runs in a folder")
    report.add_argument("folder", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
