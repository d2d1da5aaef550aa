"""A trace of each call, for OpenTelemetry: the call, its turns, and the stages of each."""
