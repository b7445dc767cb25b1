"""Read a source into the image table; quarantine bad files."""
