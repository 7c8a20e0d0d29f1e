"""`espalier doctor`: what is wrong with an installation, and how to mend it.

examine.py lists the checks; each file beside it holds those of one kind. Nothing here prints, and nothing
here repairs.
"""
