"""How models that reason about sound are taught, outside of the server's layers."""
