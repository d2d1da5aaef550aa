"""The native engine: a Step-Audio checkpoint, its tokens, its ear and its brain."""
