"""Our own algorithms by name: each file says how its agents are built."""
