"""Drawings of images with boxes and masks, and diagrams. Equal data give equal bytes."""
