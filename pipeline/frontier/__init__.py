"""A sweep over ratios and modes as DVC experiments, drawn as accuracy against measured speed."""
