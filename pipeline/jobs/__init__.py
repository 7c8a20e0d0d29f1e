"""The same `dvc repro` on a cluster.

tree.py says what is sent, server.py sends it, head.py runs there, verbs.py are the commands.
"""
