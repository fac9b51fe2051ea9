"""Images with their annotations, and what augments them. Only here is albumentations imported."""
