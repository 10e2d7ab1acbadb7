"""Reports of a comparison: `curves.png`, `violations.png`, `summary.csv` and `summary.md`."""
