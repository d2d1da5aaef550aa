"""Whether a caller who makes a sound over a reply interrupts it: by sound, then by words. Pure."""
