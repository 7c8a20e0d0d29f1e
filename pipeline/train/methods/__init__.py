"""Methods that a training may use: distillation, sparsity, quantization awareness, exact elasticity, Muon."""
