"""A simulated telephone: the line's codec and losses, and a provider's media stream."""
