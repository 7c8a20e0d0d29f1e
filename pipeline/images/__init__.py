"""Pixels from a file's bytes: decoding, orientation, colour, resizing. Knows Pillow and numpy."""
