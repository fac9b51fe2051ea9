"""Published files, from their addresses to the images in their archives. Nothing here knows a kind of source.

`published.py` describes a file, `local.py` a folder on this disk, whose files `folder_members.py` reads; `fetch.py` gets it by `addresses.py` (or says with `unusable.py` why not), `archives.py` reads the
members of an archive in place, `image_files.py` finds and opens the images among them, `published_archives.py` is all of that for a
source's entry, and `splits.py` says which published part serves which split.
"""
