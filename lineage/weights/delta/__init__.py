"""Bit-exact deltas: a child checkpoint written as its difference from the parent, and rebuilt byte for byte."""
