"""English words to the phonemes of the voice."""
