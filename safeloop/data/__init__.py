"""Transitions: the replay buffer, and datasets that others or we recorded."""
