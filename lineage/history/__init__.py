"""The history of a model: signed documents in a git repository, and the append-only log that commits to them."""
