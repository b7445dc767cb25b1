from glasshead.cli import cli

__all__ = ["cli"]
