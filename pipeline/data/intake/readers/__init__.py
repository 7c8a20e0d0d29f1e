"""Readers of sources: what each kind's files hold, row by row."""
