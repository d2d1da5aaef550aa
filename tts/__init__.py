"""Speaks: answer text in, PCM out. Never imports ``duplex`` or ``engine``."""
