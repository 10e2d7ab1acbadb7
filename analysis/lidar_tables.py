"""Print the tables of docs/lidar.md: python analysis/lidar_tables.py docs/lidar/points.csv

Reads the rows that `lidar_points.py` wrote. The first table is of lidars that show several objects, by robot; shares of
objects are weighed by the number of objects, those of points by the number of points. The second is of Point's lidars.
"""

import csv
import re
import sys
from itertools import groupby

SHARES = "present_3cm", "present_10cm", "certain_10cm"
FEWEST = 20
"""A cell of fewer objects is left out."""


def cell(rows):
    """The three shares of objects, in per cent."""
    count = sum(int(row["objects"]) for row in rows)
    if count < FEWEST:
        return "-"
    found = (sum(float(row[share]) * int(row["objects"]) for row in rows if row["objects"] != "0") for share in SHARES)
    return ", ".join(f"{100 * x / count:.0f}" for x in found)


def off(rows):
    """The share of points that are off, in per cent."""
    rows = [row for row in rows if row["present"] != "0"]
    count = sum(int(row["present"]) for row in rows)
    return f"{100 * sum(int(row['present']) * float(row['present_off']) for row in rows) / count:.0f}" if count else "-"


def several(rows):
    """True where something in a lidar's rows is hidden or not certain, as one object alone never is."""
    return any(float(row["certain_10cm"]) < 1 for row in rows if int(row["objects"]) >= FEWEST)


def main(path):
    """Print both tables."""
    with open(path) as file:
        lidars = [list(rows) for _, rows in groupby(csv.DictReader(file), lambda row: (row["task"], row["lidar"]))]
    lidars = [rows for rows in lidars if several(rows)]
    bands = [f"{row['from']} to {row['to']} m" for row in lidars[0]]
    print("| robot |", " | ".join(bands), "|")
    for robot in dict.fromkeys(re.match("[A-Z][a-z]+", rows[0]["task"])[0] for rows in lidars):
        columns = list(zip(*(rows for rows in lidars if rows[0]["task"].startswith(robot)), strict=True))
        cells = (f"{c}; {off(rows)}" if (c := cell(rows)) != "-" else c for rows in columns)
        print(f"| {robot} |", " | ".join(cells), "|")
    print("\n| task | lidar |", " | ".join(bands), "| off |")
    for rows in lidars:
        if rows[0]["task"].startswith("Point"):
            cells = (cell([row]) for row in rows)
            print(f"| {rows[0]['task']} | {rows[0]['lidar']} |", " | ".join(cells), "|", off(rows[:3]), "|")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 2 else sys.exit(__doc__)
