"""What kind of update two checkpoints show, found in their bytes."""
