"""Storage of transitions: the replay buffer, and recorded datasets."""
