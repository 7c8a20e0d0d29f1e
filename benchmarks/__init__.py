"""Side-by-side measurements: `python -m benchmarks`. Ratios are printed; nothing is asserted about time."""
