"""What each step lost: all variants timed in turns, and held against the one they were made from."""
