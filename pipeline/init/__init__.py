"""params.yaml for images that nobody described yet: `espalier init`."""
