"""World models: imagined rollouts, the ensemble with its networks, and known outcomes."""
