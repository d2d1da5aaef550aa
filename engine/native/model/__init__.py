"""A Step-Audio checkpoint: shapes, weights, tokens, and the networks in torch."""
