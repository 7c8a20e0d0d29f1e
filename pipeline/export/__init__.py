"""The deployment format: ONNX files, sessions on them, and how far they are from the model they
were made of.
"""
