#!/usr/bin/env python3
"""Runs notebooks/gold.ipynb over a finished run; what it drew must be what `lakepulse query` says.

usage: notebook.py [--target NAME --endpoint URL] [--pictures DIR] [--json FILE] LAKEPULSE PROJECT

Every cell is run in a kernel of its own, then one more asks matplotlib what it drew: heights of bars, points of
lines, cells of images. Ends with 1 when a cell fails, shows no picture, or a figure does not add up.
"""

import argparse
import base64
import json
import math
import os
import pathlib
import sys

import nbformat
from nbclient import NotebookClient

import binary

NOTEBOOK = pathlib.Path(__file__).resolve().parents[2] / "notebooks" / "gold.ipynb"

# What is on each of the notebook's axes, as numbers.
ASK = """
import json
def drawn(axes):
    return {
        "bars": [[float(bar.get_width()), float(bar.get_height())] for bar in axes.patches],
        "lines": [[float(y) for y in line.get_ydata()] for line in axes.lines],
        "images": [float(image.get_array().sum()) for image in axes.images],
    }
print(json.dumps({name: drawn(one) for name, one in axes.items()}))
"""

# How a figure adds up, and the query it must add up to.
FIGURES = {
    "revenue": (lambda drawn: sum(h for _, h in drawn["bars"]) * 1000,
                "SELECT sum(revenue) AS n FROM gold.daily_sales_metrics"),
    "order_value": (lambda drawn: sum(drawn["lines"][0]),
                    "SELECT sum(CAST(revenue AS DOUBLE) / orders) AS n FROM (SELECT order_date, sum(revenue) AS revenue, "
                    "sum(orders) AS orders FROM gold.daily_sales_metrics GROUP BY order_date)"),
    "regions": (lambda drawn: sum(w for w, _ in drawn["bars"]) * 1000,
                "SELECT sum(revenue) AS n FROM gold.daily_sales_metrics"),
    "segments": (lambda drawn: sum(w for w, _ in drawn["bars"]),
                 "SELECT count(segment) AS n FROM gold.customer_analytics"),
    "scores": (lambda drawn: sum(drawn["images"]),
               "SELECT count(recency_score) AS n FROM gold.customer_analytics"),
    "status": (lambda drawn: sum(h for _, h in drawn["bars"]), "SELECT count(*) AS n FROM gold.inventory_status"),
    "cover": (lambda drawn: sum(h for _, h in drawn["bars"]),
              "SELECT count(days_of_cover) AS n FROM gold.inventory_status"),
    "versions": (lambda drawn: drawn["lines"][0][-1] * 1e6,
                 "SELECT sum(revenue) AS n FROM gold.daily_sales_metrics"),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    binary.arguments(parser)
    parser.add_argument("--pictures")
    return parser.parse_args()


def main():
    given = arguments()
    lakepulse = binary.Binary(given)
    places = lakepulse.places("--select", "gold.*")
    os.environ["LAKE_URL"] = places[0]["location"].rsplit("/", 2)[0]
    if given.endpoint:
        os.environ["LAKE_ENDPOINT"] = given.endpoint
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(ASK))
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}}).execute()

    *cells, asked = [cell for cell in notebook.cells if cell.cell_type == "code"]
    faults = [f"cell {n} was not run" for n, cell in enumerate(cells) if cell.execution_count is None]
    pictures = [
        base64.b64decode(output.data["image/png"])
        for cell in cells
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    shows = sum("plt.show()" in cell.source for cell in cells)
    if len(pictures) != shows:
        faults.append(f"{len(pictures)} pictures of {shows}")
    if given.pictures:
        folder = pathlib.Path(given.pictures)
        folder.mkdir(parents=True, exist_ok=True)
        for n, picture in enumerate(pictures):
            (folder / f"{n}.png").write_bytes(picture)

    drawn = json.loads("".join(output.text for output in asked.outputs if output.output_type == "stream"))
    if drawn.keys() != FIGURES.keys():
        faults.append(f"axes {sorted(drawn)} instead of {sorted(FIGURES)}")
    for name in drawn.keys() & FIGURES.keys():
        add_up, sql = FIGURES[name]
        wanted = float(lakepulse.query(sql)[0]["n"])
        found = add_up(drawn[name])
        if wanted == 0 or not math.isclose(found, wanted, rel_tol=1e-9):
            faults.append(f"`{name}` adds up to {found}, `query` says {wanted}")
    for fault in faults:
        print(fault)
    print(f"notebook: {len(cells)} cells, {len(pictures)} pictures, {len(drawn)} figures: "
          f"{'as queried' if not faults else f'{len(faults)} FAULTS'}")
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps({"figures": sorted(drawn), "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
