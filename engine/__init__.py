"""Hears and thinks: ear, brain, and the session that joins them. Never imports ``duplex``."""
