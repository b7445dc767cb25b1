"""Read a source into the image table; quarantine files that cannot be used."""
