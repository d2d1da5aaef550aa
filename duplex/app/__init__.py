"""The whole server put together: the only package that names concrete models."""
