"""What every ear promises."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Ear(Protocol):
    """A loaded speech recogniser, shared by all calls; it holds weights and no call's state.

    It is asked often: for a partial transcript while the caller speaks, and for the exact one at
    each pause. What of the words is stable, and when to ask, is decided by its user (see
    `engine.ear.transcription`).
    """

    def transcribe(self, pcm: NDArray[np.float32]) -> str:
        """What is said in ``pcm``: ``[N]``, 16 kHz mono in [-1, 1], at least one sample; "" if
        nothing is said.

        It may block: it runs on a thread of its own, one call at a time. It is not cancelled,
        so while it runs no other caller is heard: a remote ear should have a timeout.

        Raises:
            EngineError: the words cannot be had; this reply fails, and the call goes on.
            RuntimeError: as above, but the client is not shown the message.
        """
