"""What a model writes, sorted: thoughts, speech and calls of functions."""
