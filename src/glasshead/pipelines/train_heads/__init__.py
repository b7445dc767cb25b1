"""Train the concept bottleneck on cached embeddings, and its baselines."""
