"""The hibari voice: a small network and a vocoder in numpy."""
