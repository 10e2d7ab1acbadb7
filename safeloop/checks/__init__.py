"""Checks of what others add: an environment before anything is trained on it; and of recorded runs."""
