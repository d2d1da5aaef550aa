"""The latency benchmark: callers, statistics and the report. Measures from audio, at the client."""

SCENARIOS = (
    "short",
    "long",
    "pauses",
    "interruptions",
    "backchannels",
    "noise",
    "phone",
    "concurrent",
    "history",
)
