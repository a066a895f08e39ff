"""How a block of one tensor is written, given the parent's block: one module a codec, chosen by trial."""
