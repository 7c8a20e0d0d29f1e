"""What a registered model of each kind of problem answers with."""
