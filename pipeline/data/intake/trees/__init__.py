"""Files of a folder or an archive, by name, none of which can lead out of it."""
