"""What is wrong in params.yaml only in view of another entry, of an architecture or of a kind; a file for each section.

Each function raises `InputError` with the file, the line and the key, or returns the entry with all its defaults.
"""
