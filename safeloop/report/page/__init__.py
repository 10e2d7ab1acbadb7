"""The page of a comparison: `report.html`, one file that holds its tables and figures and opens without a network."""
