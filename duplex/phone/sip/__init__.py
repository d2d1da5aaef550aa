"""Calls of softphones and SIP exchanges: signalling over UDP, sound in RTP."""
