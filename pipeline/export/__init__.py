"""The deployment format: ONNX files, sessions on them, and how far they are from their model."""
