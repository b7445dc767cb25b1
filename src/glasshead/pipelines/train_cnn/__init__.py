"""Train a convolutional network from scratch, and compare augmentations in such trainings."""
