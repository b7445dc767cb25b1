"""Explain a classifier's decisions on test images by concepts and by pixels."""
