"""Train the concept bottleneck on stored embeddings, and its baselines."""
