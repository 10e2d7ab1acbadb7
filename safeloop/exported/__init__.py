"""Trained agents as programs that need torch alone."""
