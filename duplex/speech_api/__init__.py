"""The ear and the voice as endpoints of their own: files to text, and text to sound."""
