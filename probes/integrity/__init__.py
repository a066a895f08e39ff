"""Whether the update is what its author says it is."""
