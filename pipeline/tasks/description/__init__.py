"""Each kind of problem in words: its parameters, and what model.json notes of it. No torch, no numpy."""
