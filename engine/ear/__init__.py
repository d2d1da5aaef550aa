"""Speech to text: partial transcripts while the caller speaks, the exact pass at a pause."""
