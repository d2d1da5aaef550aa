"""Recordings, the caller's microphone and loudspeaker, without a sound card."""
