"""Classify images with an exported model: `python examples/classify.py model.onnx images.npy`.

Needs numpy and onnxruntime alone. images.npy: (B, C, H, W) or (C, H, W), pixels 0..255, in the model's channel order and size.
"""

import json
import os
import sys

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else the import writes an id of this machine and calls Microsoft (1.31)
import onnxruntime

file, images = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=onnxruntime.get_available_providers())
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
pixels = np.load(images, allow_pickle=False)
batch = pixels.astype(np.float32).reshape(-1, *pixels.shape[-3:])
logits = session.run(["logits"], {"pixels": batch})[0]
shares = np.exp(logits - logits.max(axis=1, keepdims=True))
for row, share in enumerate(shares / shares.sum(axis=1, keepdims=True)):
    print(f"{row}: {classes[share.argmax()]} {share.max():.3f}")
