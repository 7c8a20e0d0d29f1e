"""Formats that a model can be exported to, beside model.onnx."""

from typing import Literal

Format = Literal["fp16", "bf16", "pt2"]
