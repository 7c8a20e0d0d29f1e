"""What is mended in the copy of an image that is kept, while its file stays as it is."""

MADE_UPRIGHT = "turned upright, as its EXIF data say"
ON_WHITE = "transparent parts laid on white"
UNUSED_ALPHA = "unused alpha channel dropped"
CONVERTED = "colours of print or another space converted"
UPPER_BYTES = "upper bytes of 16 bits taken"
METADATA = "damaged metadata ignored"
ODD_END = "bytes beyond its end ignored, or an end that is not marked"

ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
"""Last bytes of a whole file, by format; others have no such mark."""
RIFF_HEADER = 8


def ends_oddly(data: bytes, kind: str | None) -> bool:
    """Whether a file goes on beyond the end of its image, or does not mark it."""
    if kind == "WEBP":
        stated = int.from_bytes(data[4:RIFF_HEADER], "little") + RIFF_HEADER
        return len(data) > stated + stated % 2
    return kind in ENDS and not data.endswith(ENDS[kind])
