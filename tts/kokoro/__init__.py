"""Kokoro-82M, the pack of many voices."""
