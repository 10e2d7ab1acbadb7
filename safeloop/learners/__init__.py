"""Off-policy value learning."""
