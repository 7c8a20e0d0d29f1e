"""The way from a source to prepared data: every row read and checked, split, and described in a card."""
