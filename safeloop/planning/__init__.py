"""Online planning: sample candidates, imagine them, score, weigh, refit."""
