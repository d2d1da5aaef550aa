"""Smart Turn: a network that hears whether a turn is complete."""

import logging
from pathlib import Path

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray

from engine.features import SAMPLE_RATE_HZ, log_mel, normalize
from engine.worker import Priority, Worker

logger = logging.getLogger(__name__)

HEARD_SAMPLES = 8 * SAMPLE_RATE_HZ  # of the turn's end; it has learnt no more


class SmartTurn:
    """Smart Turn v3 (pipecat-ai/smart-turn), shared by all calls; it holds no call's state.

    It is prepared for as in pipecat 1.14's local_smart_turn_v3.py: zeros in front up to 8 s, zero
    mean and unit variance, Whisper's log-mel.
    """

    def __init__(self, model_path: Path) -> None:
        """Load the network; it runs on the thread that asks, and on no other."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            str(model_path), options, providers=["CPUExecutionProvider"]
        )

    def completeness(self, samples: NDArray[np.float32]) -> float:
        """The probability that a turn is over with ``samples``: ``[N]``, 16 kHz mono, a little of
        the pause after it among them. It blocks for tens of milliseconds."""
        audio = np.zeros(HEARD_SAMPLES, np.float32)
        last = samples[-HEARD_SAMPLES:]
        audio[HEARD_SAMPLES - len(last) :] = last
        audio = (audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)
        features = normalize(log_mel(audio))[None]
        return float(self._session.run(None, {"input_features": features})[0][0, 0])


class SmartTurnEar:
    """Listens for the ends of turns, for all calls, on a thread of its own."""

    def __init__(self, network: SmartTurn) -> None:
        self._network = network
        self._worker = Worker("turn ends")

    async def completeness(self, samples: NDArray[np.float32]) -> float | None:
        """See `SmartTurn.completeness`; None if it failed, which is logged."""
        try:
            return await self._worker.run(
                lambda: self._network.completeness(samples), Priority.REPLY
            )
        except RuntimeError:  # what onnxruntime raises, out of memory for one
            logger.exception("the sound of a turn's end could not be judged")
            return None

    def close(self) -> None:
        """Stop the thread."""
        self._worker.close()
