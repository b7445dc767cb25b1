"""Audit a risk: learn from image-level labels where in images it is, and test whether the maps show the cause."""
