"""Measure a classifier on test images with noise, blur, compression and adversarial changes."""
