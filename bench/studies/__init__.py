"""Studies: trainings with one thing changed at a time."""
