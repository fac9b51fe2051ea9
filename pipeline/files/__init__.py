"""Published files: fetched, checked, and read in place from archives."""
