"""Glasshead: image classifiers you can see through, and audits for any image classifier."""

__version__ = "0.1.0"
