"""A voice of espeak-ng itself, for languages that no other voice speaks."""
