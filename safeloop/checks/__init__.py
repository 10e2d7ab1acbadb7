"""Checks of what others add: an environment is examined before anything is trained on it."""
