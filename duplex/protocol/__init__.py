"""Sans-IO wire codecs: messages in, events out, and back. Knows no sockets and no models."""
