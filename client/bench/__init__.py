"""The latency benchmark: callers, statistics and the report. Measures from audio, at the client."""

SCENARIOS = ("single", "concurrent", "pauses", "barge-in", "long", "history")
