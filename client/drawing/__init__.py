"""A call as a picture: SVG without scripts."""
