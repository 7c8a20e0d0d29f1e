"""XML without entities, which could make gigabytes of a few bytes or read other files."""

from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from pipeline.images.defect import Defect

MOST_LEVELS = 100


def parsed_xml(data: bytes) -> Element:
    """The root. Raises Defect for what is no XML, has a DOCTYPE or is nested too deep."""
    builder, parser = TreeBuilder(), expat.ParserCreate()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_LEVELS:
            raise Defect("malformed annotation", f"XML of more than {MOST_LEVELS} levels")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: Any) -> None:
        raise Defect("malformed annotation", "XML with a DOCTYPE, which could define entities; take it out")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Defect("malformed annotation", f"no XML ({error})") from error
