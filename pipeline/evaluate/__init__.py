"""What a model is worth: accuracy, calibration and cost, measured on the test split."""
