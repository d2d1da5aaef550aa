"""One phone call between a provider's line and a session."""
