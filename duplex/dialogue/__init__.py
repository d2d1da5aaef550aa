"""One call: the caller is heard, answered and interrupted."""
