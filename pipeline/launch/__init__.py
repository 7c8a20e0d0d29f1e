"""How a training gets onto machines: Ray, its driver and workers, and what they may use."""
