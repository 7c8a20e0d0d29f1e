"""A float ONNX file to an int8 one."""
