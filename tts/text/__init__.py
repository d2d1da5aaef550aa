"""Answer text made ready to be spoken: cut into clauses, and written out in words."""
