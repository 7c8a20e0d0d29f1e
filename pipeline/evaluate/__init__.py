"""What a model is worth: accuracy, calibration, cost and latency, measured."""
