"""Updates whose truth is known because it was measured, and how well the gate tells them apart."""
