"""What the answers to each kind of problem are worth. No torch here."""
