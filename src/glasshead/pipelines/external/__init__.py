"""Read a classifier that somebody else trained, and try its contract on the images."""
