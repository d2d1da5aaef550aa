"""The server's edge: decides who may call, how much they may use, and which sockets are dropped."""
