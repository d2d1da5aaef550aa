"""A caller who plays recordings, listens as a person would, and measures each turn."""
