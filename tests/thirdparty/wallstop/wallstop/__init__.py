"""An environment and an algorithm for safeloop, from a package of their own."""
