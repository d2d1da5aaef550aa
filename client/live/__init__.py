"""A live conversation at a terminal: microphone, loudspeaker and keys."""
