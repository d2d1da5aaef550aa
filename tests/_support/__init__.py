"""What several tests share: scripted servers, phones, browsers, sound servers, tiny checkpoints."""
