"""The caller's side: file player and latency benchmark, over the wire protocol alone."""
