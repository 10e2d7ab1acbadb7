"""Off-policy learners of actions and values."""
