"""A brain on vLLM: text and two minds, on an `AsyncLLM` of this process."""
