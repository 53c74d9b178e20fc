"""Matplotlib's SVG made part of a page: names of its own, the page's colours and fonts, a description."""

import re
import xml.etree.ElementTree as ElementTree

from .drawing import VARIABLES

_COLOUR = re.compile(r"#[0-9a-f]{6}")
_REFERENCE = re.compile(r"#([A-Za-z][\w.-]*)")


def inline_svg(document: str, name: str, description: str) -> str:
    """The element `svg` of a document, for HTML.

    Args:
        document: as matplotlib writes it, with text as text.
        name: of the plot, put before every id, as all plots of a page share its ids.
        description: what the plot shows.
    """
    root = ElementTree.fromstring(document)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": description}
    for parent in root.iter():
        for child in list(parent):
            # The style applies to the whole page, and nobody reads the metadata.
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {
            _local(key): _value(_local(key), value, name) for key, value in element.attrib.items()
        }
    root.tail = None
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    """Without its name space, which HTML knows by itself."""
    return name.rpartition("}")[2]


def _value(key: str, value: str, name: str) -> str:
    match key:
        case "id":
            return f"{name}-{value}"
        case "style":
            coloured = _COLOUR.sub(lambda found: VARIABLES.get(found[0], found[0]), value)
            return re.sub(r"(font: [^;]*?)'[^;]*", r"\1var(--font)", coloured)
        case "href" | "clip-path":
            return _REFERENCE.sub(rf"#{name}-\1", value)
        case _:
            return value
