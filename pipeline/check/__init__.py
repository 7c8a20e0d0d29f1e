"""What can be known to fail before anything computes: tried in seconds on stand-ins, by the functions that
the stages call.

It can only stop a stage, never change an out, so no stage depends on a file here.
"""
