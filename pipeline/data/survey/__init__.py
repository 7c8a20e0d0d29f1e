"""What lies at a path, found out before anything is prepared: `espalier init` builds params.yaml from it."""
