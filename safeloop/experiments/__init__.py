"""Runs: specified, checked, started in processes of their own, resumed."""
