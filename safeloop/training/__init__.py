"""The loops that train agents and evaluate policies."""
