"""Where questions come from: sets made on the spot, questions we speak, and published ones."""
