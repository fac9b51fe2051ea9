"""Writes the pages of docs/ that are made of the code."""

import pages_of_code as pages

for name in pages.names():
    pages.file(name).write_text(pages.load(name).page(), encoding="utf-8")
