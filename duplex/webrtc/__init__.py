"""Calls over WebRTC: the Realtime protocol on a data channel, the sound on tracks."""
