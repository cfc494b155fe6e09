"""Studies: several trainings with one change at a time."""
