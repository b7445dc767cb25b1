"""A project of five small nodes under Glasshead's settings, hooks and command line."""
