"""Who has the floor, and when a caller's turn begins and ends. Pure, in sample time."""
