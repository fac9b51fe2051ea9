"""Commands for people: what they answer, draw, serve or start. Only these import DVC."""
