"""Targets once all rows are read: their values, strata and statistics; a file for each kind of field."""
