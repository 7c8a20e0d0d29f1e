"""What a model is trained for: how that is trained, judged, shown and served; one kind of problem a file."""
