"""The part of YAML that a params file may use: mappings with text keys, lists, numbers, text, true, false, null, anchors, merge keys.

Everything else is refused while ruamel.yaml composes the file's nodes, before an alias is expanded or a number is converted.
"""

from typing import Any

from ruamel.yaml.composer import Composer
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

# Levels of lists and mappings; our deepest entry, a transform's argument of two limits, has 8.
MAX_DEPTH = 40
# Values in a file; those behind an alias count at each alias. Recipes have up to 2,000, a list of ImageNet's classes 1,000.
MAX_VALUES = 200_000
# Characters of a number; float64 needs 24 at most. Python refuses to read whole numbers of more than 4,300 digits.
MAX_NUMBER_LENGTH = 100

_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_VERSION = (1, 2)
_READ_AS = {"bool": "true or false", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}


class NotPlain(Exception):  # noqa: N818 - it becomes an `InputError`
    """The file uses a part of YAML that a params file may not use.

    Attributes:
        line: Line number, counted from 1.
        location: Keys that lead to the error; empty if they are not known yet.
    """

    def __init__(self, message: str, line: int, location: tuple[Any, ...] = ()):
        super().__init__(message)
        self.line, self.location = line, location


class PlainComposer(Composer):
    """Composes the nodes of a document; raises `NotPlain` for YAML that a params file may not use."""

    def __init__(self, loader: Any = None):
        super().__init__(loader=loader)
        self._depth = 0
        self._open: set[str] = set()
        self._lines: dict[str, int] = {}

    def get_single_node(self) -> Any:
        """The document's root node, checked."""
        root = super().get_single_node()
        if root is not None:
            _check(root, (), {})
        return root

    def compose_document(self) -> Any:
        """The document's root node; a directive may not change how its values are read."""
        event = self.parser.peek_event()
        if event.version not in (None, _VERSION):
            version = ".".join(map(str, event.version))
            message = f"expected YAML 1.2, as DVC reads it; received: the directive %YAML {version}. Remove it"
            raise NotPlain(message, event.start_mark.line + 1)
        return super().compose_document()

    def compose_node(self, parent: Any, index: int) -> Any:
        """A node with the nodes below it."""
        event = self.parser.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent):
            if event.anchor in self._open:
                raise NotPlain(f"expected an alias of an earlier value; received: *{event.anchor} within itself", line)
            return super().compose_node(parent, index)
        if event.ctag is not None:
            tag = str(event.ctag).replace("tag:yaml.org,2002:", "!!")
            raise NotPlain(f"expected plain numbers, text, lists and mappings; received: the tag {tag}", line)
        if self._depth == MAX_DEPTH:
            raise NotPlain(f"expected at most {MAX_DEPTH} levels of lists and mappings; received: more", line)
        self._depth += 1
        if event.anchor:
            if event.anchor in self._lines:
                first = self._lines[event.anchor]
                raise NotPlain(
                    f"expected every anchor once; received: &{event.anchor} again, first in line {first}", line
                )
            self._lines[event.anchor] = line
            self._open.add(event.anchor)
        node = super().compose_node(parent, index)
        self._open.discard(event.anchor)
        self._depth -= 1
        return node


def _check(node: Node, location: tuple[Any, ...], sizes: dict[int, int]) -> int:
    """Refuse keys that are not text, duplicate keys and too many values; returns the number of values in a node."""
    if id(node) in sizes:
        return sizes[id(node)]
    size = 1
    if isinstance(node, MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            _check_key(key, value, lines, location, in_braces=bool(node.flow_style))
            size += _check(value, (*location, key.value), sizes)
    elif isinstance(node, SequenceNode):
        size += sum(_check(value, (*location, position), sizes) for position, value in enumerate(node.value))
    elif isinstance(node, ScalarNode) and node.tag.endswith(":timestamp"):
        message = f"expected a number, text, true, false or null; received: {node.value}, a date. Put it in quotes"
        raise NotPlain(message, node.start_mark.line + 1, location)
    elif isinstance(node, ScalarNode) and node.tag in _NUMBERS and len(node.value) > MAX_NUMBER_LENGTH:
        message = f"expected a number of at most {MAX_NUMBER_LENGTH} characters; received: one of {len(node.value):,}"
        raise NotPlain(message, node.start_mark.line + 1, location)
    if size > MAX_VALUES:
        message = f"expected at most {MAX_VALUES:,} values, those behind aliases counted each time; received: more"
        raise NotPlain(message, node.start_mark.line + 1, location)
    sizes[id(node)] = size
    return size


def _check_key(key: Node, value: Node, lines: dict[str, int], location: tuple[Any, ...], *, in_braces: bool) -> None:
    line = key.start_mark.line + 1
    if not isinstance(key, ScalarNode):
        raise NotPlain("expected a key that is text; received: a list or a mapping", line, location)
    if key.tag not in (_TEXT, _MERGE):
        kind = _READ_AS.get(key.tag.rpartition(":")[2], "no text")
        if in_braces and kind == "a number" and isinstance(value, ScalarNode) and value.value == "":
            fix = "Decimal numbers are written with a point"  # {rate: 0,05}
        else:
            fix = f'Put it in quotes: "{key.value}"' if key.value else 'Put it in quotes: ""'
        message = f"expected a key that YAML reads as text; received: {key.value or 'none'}, which is {kind}. {fix}"
        raise NotPlain(message, line, (*location, key.value))
    if key.value in lines:
        message = f"expected every key once; received: {key.value!r} again, first in line {lines[key.value]}"
        raise NotPlain(message, line, (*location, key.value))
    lines[key.value] = line
