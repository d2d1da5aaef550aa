"""Recordings of calls, if they are wanted: how they are made, kept, deleted and looked at."""
