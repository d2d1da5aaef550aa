"""Sorts a model's raw text into thoughts, speech and calls of functions."""
