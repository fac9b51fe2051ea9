"""The XML of an annotation file: decoded as it declares, of the right root, with tags as VOC has them, and numbers."""

import codecs
import re
from xml.etree import ElementTree

from pipeline.files import texts
from pipeline.runtime.errors import InputError

_DECLARED = re.compile(rb"""\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([A-Za-z][\w.:\-]*)["']""")
# What programs write that declare the narrower one (https://encoding.spec.whatwg.org, section 4.2).
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "iso8859-1": "cp1252"}
_SEVERAL_BYTES = ("utf-16", "utf-32")  # and their kinds of a byte order
_MAX_START = 1024  # bytes in which a declaration must be
_WEB_PAGE = re.compile(r"\s*(<\?xml.*?\?>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
ROOT, OBJECT = "annotation", "object"
# Values of a flag that are no number, in small letters.
_FLAGS = {"": 0.0, "unspecified": 0.0, "false": 0.0, "no": 0.0, "true": 1.0, "yes": 1.0}


def read_root(xml: bytes, member: str) -> ElementTree.Element:
    """The root of an annotation file, in which no tag has a namespace and every object is right below it.

    Args:
        xml: The file.
        member: Its name, for messages.

    Raises:
        InputError: It is no XML, in another encoding than it says, has another root, or an object somewhere else.
    """
    text = _decoded(xml, member).lstrip("\ufeff \t\r\n\0")
    if _WEB_PAGE.match(text):
        raise InputError(
            f"{member}: expected an annotation file of VOC; received: a web page (HTML). Fetch the file again"
        )
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{member}: expected XML; received: {error}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != ROOT:
        raise InputError(f"{member}: expected <{ROOT}> around everything; received: <{root.tag}>. Is it a file of VOC?")
    _refuse_misplaced(root, member)
    return root


def _decoded(xml: bytes, member: str) -> str:
    """The text of a file in the encoding that it declares, unless its first bytes show another one."""
    match = _DECLARED.match(xml[:_MAX_START])
    declared = match[1].decode() if match else "utf-8"
    try:
        name = codecs.lookup(declared).name
        "".encode(name)
    except (LookupError, UnicodeError) as error:
        raise InputError(
            f"{member}: expected an encoding that is known; received: {declared!r} in its XML declaration. Save it as UTF-8"
        ) from error
    if name.startswith(_SEVERAL_BYTES):
        name = "utf-8"  # the declaration was read byte by byte: a program wrote its text otherwise than it declared
    return texts.decode(xml, member, declared=_WIDER.get(name, name))


def _refuse_misplaced(root: ElementTree.Element, member: str) -> None:
    """Refuse an object that reading the root's own would pass over."""
    for parent in root.iter():
        for child in parent:
            if child.tag.lower() == OBJECT and (parent is not root or child.tag != OBJECT):
                raise InputError(
                    f"{member}: expected each <{OBJECT}> right below <{ROOT}>; received: <{child.tag}> in <{parent.tag}>"
                )


def only(element: ElementTree.Element, tag: str, member: str) -> ElementTree.Element | None:
    """The element of a tag, in small or capital letters, right below another one, if there is one.

    Raises:
        InputError: There are several.
    """
    found = [child for child in element if child.tag.lower() == tag]
    if len(found) > 1:
        raise InputError(f"{member}: expected one <{tag}> in <{element.tag}>; received: {len(found)}")
    return found[0] if found else None


def read_text(element: ElementTree.Element, tag: str, member: str) -> str | None:
    """The text of a tag right below an element, without the space around it; None if there is no such tag."""
    found = only(element, tag, member)
    return None if found is None else texts.composed((found.text or "").strip())


def read_number(element: ElementTree.Element, tag: str, member: str) -> float:
    """The number of a tag right below an element.

    Raises:
        InputError: There is none.
    """
    text = read_text(element, tag, member)
    number = _number(text or "")
    if number is None:
        raise InputError(f"{member}: expected a number in <{tag}>; received: {text!r}")
    return number


def read_flag(element: ElementTree.Element, tag: str, member: str) -> bool:
    """Whether a flag right below an element is set; one that is missing, empty or "Unspecified" is not.

    Raises:
        InputError: It is no flag.
    """
    text = read_text(element, tag, member) or ""
    value = _FLAGS.get(text.lower(), _number(text))
    if value not in (0, 1):
        raise InputError(f"{member}: expected 0 or 1 in <{tag}>; received: {text!r}")
    return value != 0


def _number(text: str) -> float | None:
    """A finite number that is written as one: Python reads `1_000` and digits of other scripts as well."""
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return None
    number = float(text)
    return number if abs(number) < float("inf") else None
