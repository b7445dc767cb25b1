"""Encode every image with the frozen backbone; images with the same content only once."""
