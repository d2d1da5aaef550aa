"""Sound as numbers: sample formats, resampling, concealment. Pure: no IO, no models."""
