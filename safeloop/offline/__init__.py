"""Learning from a dataset alone, and planning on top of what was learned (CoRL 2021, 5.2, Algorithm 2)."""
