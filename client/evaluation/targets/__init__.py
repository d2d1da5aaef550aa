"""What is asked: a Realtime server, a chat endpoint, or a file of answers."""
