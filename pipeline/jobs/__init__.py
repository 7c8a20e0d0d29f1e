"""Submission of `dvc repro` to a cluster.

tree.py says what is sent, remote.py through what data travels, job_server.py sends the job; start.py and
head.py run there; results.py is the way back; verbs.py are the commands.
"""
