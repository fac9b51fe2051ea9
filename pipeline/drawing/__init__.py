"""Images with boxes and masks; diagrams. Equal data give equal bytes."""
