"""OpenAI-compatible services over HTTP: how brain, ear and voice of another machine are asked.

It knows nothing of what they do.
"""
