"""World models: imagined rollouts, the ensemble and its networks, and what is known beside them."""
