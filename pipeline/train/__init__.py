"""One training function, `fit`, for train and finetune."""
