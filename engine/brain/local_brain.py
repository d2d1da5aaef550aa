"""The embedded brain: a converted Qwen2 model on this machine's CPU."""

from pathlib import Path

from tokenizers import Tokenizer

from engine.brain.chat_format import CHATML, Renderer
from engine.brain.local_session import LocalBrainSession
from engine.brain.onnx_log import OnnxTokenLog, load_model
from engine.worker import Worker


class LocalBrain:
    """Weights, tokenizer and the thread that runs them, shared by all calls."""

    def __init__(self, model_dir: Path, *, threads: int, context_tokens: int = 2048) -> None:
        """Load ``model_dir``, as written by `engine.brain.convert.convert`.

        Raises:
            ValueError: the directory was converted for a shorter context.
            OSError: a file of it is missing.
        """
        self.context_tokens = context_tokens
        self._model = load_model(model_dir, threads=threads, context_tokens=context_tokens)
        self._renderer = Renderer(Tokenizer.from_file(str(model_dir / "tokenizer.json")), CHATML)
        self._worker = Worker("brain")

    def open(self) -> LocalBrainSession:
        """Start a session with an empty cache."""
        return LocalBrainSession(
            OnnxTokenLog(self._model),
            self._renderer,
            self._worker,
            context_tokens=self.context_tokens,
        )

    def close(self) -> None:
        """Stop the thread."""
        self._worker.close()
