"""What lies between stages: one format, one file that alone writes and reads it."""
