"""From configuration to concrete parts: the only place that names them."""
