"""The caller's side: file player and latency benchmark; uses only the wire protocol and PCM helpers."""
