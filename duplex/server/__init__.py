"""The server's edge: who may call, how much, and what a socket may do before it is dropped."""
