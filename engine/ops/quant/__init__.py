"""Weights in 8 or 4 bits. This module needs no torch."""

GROUP = 128  # inputs that share a scale
