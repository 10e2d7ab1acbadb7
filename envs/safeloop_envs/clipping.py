"""Velocities that Gymnasium clips in observations."""

CLIPPED = {"Hopper": dict.fromkeys(range(5, 11), 10.0), "Walker2d": dict.fromkeys(range(8, 17), 10.0)}
"""By robot, the observation index of each and its limit, m/s or rad/s."""
