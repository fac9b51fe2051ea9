"""Checks of params.yaml that compare an entry with other entries, its architecture or its kind of source; a file for each section.

Each function raises an `InputError` with the file, the line and the key. A `checked_*` function returns the entry with all defaults.
"""
