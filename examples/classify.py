"""Classify images with an exported model: `python examples/classify.py model.onnx images.npy`.

Needs numpy and onnxruntime alone. images.npy: (B, C, H, W) or (C, H, W), pixels 0..255, in the model's
channel order and size.
"""

import json
import os
import sys

import numpy as np

# Else the import writes an id of this machine and calls Microsoft (1.31).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

if len(sys.argv) != 3:
    sys.exit("usage: python examples/classify.py model.onnx images.npy")
try:
    session = onnxruntime.InferenceSession(sys.argv[1], providers=onnxruntime.get_available_providers())
    classes = json.loads(session.get_modelmeta().custom_metadata_map["task"])["classes"]
    pixels = np.load(sys.argv[2], allow_pickle=False)
    logits = session.run(["logits"], {"pixels": pixels.astype(np.float32).reshape(-1, *pixels.shape[-3:])})[0]
except Exception as error:  # each library has its own
    sys.exit(f"{sys.argv[1]} cannot answer {sys.argv[2]}: {error}")
shares = np.exp(logits - logits.max(axis=1, keepdims=True))
for row, share in enumerate(shares / shares.sum(axis=1, keepdims=True)):
    print(f"{row}: {classes[share.argmax()]} {share.max():.3f}")
