# mypy: ignore-errors
"""Running the kernels without a GPU, by Triton's interpreter: for tests and checks."""

import os

import torch


def interpret_without_cuda() -> bool:
    """Have Triton interpret kernels on the CPU if there is no CUDA device; true if it does.

    Raises:
        RuntimeError: Triton was imported before, to compile: it reads the setting once.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")
    if os.environ.get("TRITON_INTERPRET") != "1":
        return False
    from triton import language
    from triton.runtime import interpreter

    if not isinstance(language.sum, interpreter.InterpretedFunction):
        raise RuntimeError("Triton is already imported: set TRITON_INTERPRET=1 before")
    _scalars_have_an_index(interpreter)
    return True


def _scalars_have_an_index(interpreter) -> None:
    """Loops up to a loaded bound: the interpreter's scalars are arrays [1].

    numpy 2.4 no longer makes an int of one, and Triton 3.6 asks it to.
    """
    patch = interpreter._patch_lang_tensor
    if patch.__module__ == __name__:
        return

    def patched(tensor, scope):
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patched
