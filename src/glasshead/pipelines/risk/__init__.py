"""Audit a risk: learn from image labels where it is, and test whether the maps point at the cause."""
