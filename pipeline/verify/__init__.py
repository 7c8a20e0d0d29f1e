"""`espalier verify`: what dvc.lock and DVC's cache name, read and compared."""
