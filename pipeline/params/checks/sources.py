"""Checks of the entries under `sources:`, each by the fields of its kind."""

from collections.abc import Mapping

from cnnkeras.by_name import unknown
from pipeline import sources
from pipeline.params.parsed import ParsedFile
from pipeline.params.sentences import shown, validate
from pipeline.sources import SourceEntry

_INSPECT = "`cnnkeras inspect PATH` says which kind a folder or an archive is"


def checked_source(file: ParsedFile, name: str) -> SourceEntry:
    """An entry under `sources:` as the `Source` of its kind, with all defaults."""
    entry = file.plain["sources"][name]
    location = ("sources", name)
    known = sources.names()
    if not isinstance(entry, Mapping):
        raise file.error(
            location, f"expected a mapping with a kind ({', '.join(known)}); received: {shown(entry)}. {_INSPECT}"
        )
    if "kind" not in entry:
        raise file.error(location, f"expected the key 'kind' ({', '.join(known)}); received: none. {_INSPECT}")
    if entry["kind"] not in known:
        raise file.error((*location, "kind"), f"{unknown(entry['kind'], known, 'kind of source')}. {_INSPECT}")
    model = sources.load(entry["kind"]).Source
    return validate(file, location, model, entry)
