"""The latency benchmark: callers, statistics and the report. Measures from audio, at the client."""
