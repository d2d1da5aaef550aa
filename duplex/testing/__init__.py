"""Scripted models, a scripted caller and virtual time, for tests of bots and of this server."""
