"""Encode every image with the frozen CLIP image encoder, once per content."""
