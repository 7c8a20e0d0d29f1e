"""What can be known to fail before anything computes, tried in seconds on stand-ins by the stages' functions.

It can only stop a stage, never change an out, so no stage depends on a file here.
"""
