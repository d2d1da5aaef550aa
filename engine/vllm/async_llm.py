"""`Client` on vLLM's `AsyncLLM`: its engine is a process of its own, which this one owns."""

import dataclasses
import itertools
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from engine.vllm.client import AHEAD, PENALTY, SAID, Chunk, Draw, Tokens

# What this project itself sets, or relies on.
OURS = {
    "model": "brain.model",
    "tokenizer": "brain.model",
    "max_model_len": "brain.context_tokens",
    "enable_prefix_caching": "",
    "skip_tokenizer_init": "",
    "logits_processors": "",
}
_PROCESSOR = "engine.vllm.penalty:AnswerPenalty"
_FORBIDDEN = -100.0  # vLLM's lowest bias


def engine_options() -> list[str]:
    """The names of vLLM's options that may be set.

    Raises:
        ImportError: vLLM is not installed.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs

    names = [field.name for field in dataclasses.fields(AsyncEngineArgs)]
    return sorted(name for name in names if name not in OURS)


class AsyncLLMClient:
    """A loaded model in vLLM."""

    def __init__(
        self,
        model: Path,
        context_tokens: int,
        options: Mapping[str, Any],
        sound_token: int | None = None,
    ) -> None:
        """Load it, which takes a minute. ``options`` are vLLM's own. ``sound_token`` stands in the
        prompt for a latent, in a model that hears and takes ``audio_embeds``.

        Raises:
            ImportError: vLLM is not installed.
            ValueError: the model or an option cannot be used.
            RuntimeError: the engine did not start.
        """
        # Read by vLLM when it is imported or starts. The engine's process must not be a copy of
        # this one, which has threads; and the newer runner takes no `AnswerPenalty`.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        from vllm import SamplingParams
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.engine.protocol import StreamingInput
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = AsyncEngineArgs(
            model=str(model),
            max_model_len=context_tokens,
            enable_prefix_caching=True,
            logits_processors=[_PROCESSOR],
            **{"enable_log_requests": False, **options},
        )
        self._llm = AsyncLLM.from_engine_args(arguments)
        self._vocabulary: int = self._llm.model_config.get_vocab_size()
        self._params: Any = SamplingParams
        self._delta = RequestOutputKind.DELTA
        self._streaming: Any = StreamingInput
        self._tokens: Any = TokensPrompt
        self._ahead = self._sampling(AHEAD)
        self._sound_token = sound_token
        self._numbers = itertools.count(1)

    @property
    def is_alive(self) -> bool:
        """See `Client`."""
        return not self._llm.errored

    @property
    def capacity_tokens(self) -> int:
        """See `Client`."""
        cache = self._llm.vllm_config.cache_config
        return int((cache.num_gpu_blocks or 0) * cache.block_size)

    @property
    def places(self) -> int:
        """See `Client`."""
        return int(self._llm.vllm_config.scheduler_config.max_num_seqs)

    async def request(self, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Tokens, None]:
        """See `Client`."""

        async def inputs() -> AsyncGenerator[Any, None]:
            async for chunk in chunks:
                draw = self._ahead if chunk.draw is AHEAD else self._sampling(chunk.draw)
                yield self._streaming(self._prompt(chunk), draw)

        name = f"duplex-{next(self._numbers)}"
        async with aclosing(self._llm.generate(inputs(), self._ahead, name)) as outputs:
            async for output in outputs:
                yield Tokens(output.outputs[0].token_ids, output.num_cached_tokens or 0)

    async def forget(self) -> None:
        """Empty the prefix cache, to measure without it."""
        await self._llm.reset_prefix_cache()

    def close(self) -> None:
        """See `Client`."""
        self._llm.shutdown()

    def _prompt(self, chunk: Chunk) -> Any:
        if all(id_ >= 0 for id_ in chunk.ids):
            return self._tokens(prompt_token_ids=list(chunk.ids))
        if self._sound_token is None:
            raise ValueError("this model reads text only")
        ids, latents = chunk.with_placeholders(self._sound_token)
        audio = {"audio": {"audio_embeds": latents}}
        return self._tokens(prompt_token_ids=ids, multi_modal_data=audio)

    def _sampling(self, draw: Draw) -> Any:
        extra = {PENALTY: draw.repetition_penalty, SAID: list(draw.said)}
        return self._params(
            max_tokens=draw.limit,
            min_tokens=1 if draw.must_begin else 0,
            temperature=draw.temperature,
            top_p=draw.top_p,
            stop_token_ids=sorted(draw.stop_ids),
            ignore_eos=True,  # the stop ids say all
            logit_bias=dict.fromkeys(draw.banned, _FORBIDDEN) or None,
            allowed_token_ids=[i for i in draw.allowed if i < self._vocabulary] or None,
            extra_args=extra if draw.repetition_penalty != 1 else None,
            detokenize=False,
            output_kind=self._delta,
        )
