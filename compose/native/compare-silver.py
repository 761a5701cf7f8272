#!/usr/bin/env python3
"""Compares silver with the retailer's PostgreSQL, row by row, after `lakepulse up --until-drained`.

usage: compare-silver.py LAKEPULSE PROJECT [TARGET]

Each scd1 model of the project that reads one of the retailer's tables is run twice: its rows as silver holds
them, and its own SELECT over PostgreSQL's table. Exits 1 unless every table is the same.
"""
import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

STACK = Path(__file__).parent / "stack"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def plain(value):
    """Numbers of any scale, and times of any spelling, as one."""
    if isinstance(value, str):
        time = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?(Z|\+00:00)", value)
        if time:
            return f"{time[1]}T{time[2]}.{(time[3] or '.')[1:].ljust(6, '0')}Z"
        if re.fullmatch(r"-?\d+\.\d+", value):
            return Decimal(value).normalize()
    if isinstance(value, (Decimal, int)) and not isinstance(value, bool):
        return Decimal(value).normalize()
    return value


def rows(lines, keys):
    parsed = (json.loads(line, parse_float=Decimal) for line in lines.splitlines() if line)
    # What begins with `_` is where the row comes from.
    shown = lambda name, value: value is not None and not name.startswith("_")
    parsed = ({name: plain(value) for name, value in row.items() if shown(name, value)} for row in parsed)
    return {tuple(str(row[key]) for key in keys): row for row in parsed}


def main(lakepulse, project, target="compose"):
    sql = "SELECT table_name, table_schema FROM information_schema.tables WHERE table_schema IN ('application', 'sales', 'warehouse')"
    schemas = dict(line.split("|") for line in run(STACK, "psql", "-XAtc", sql).split())
    faults = 0
    for path in sorted(Path(project, "models/silver").glob("*.sql")):
        text = path.read_text()
        source = re.search(r"changes\(bronze\.cdc_(\w+)\)", text)
        keys = re.search(r"^keys: \[(.*)\]", text, re.M)
        if not source or "kind: scd1" not in text or source[1] not in schemas:
            continue
        keys = [key.strip() for key in keys[1].split(",")]
        select = text.split("*/", 1)[1].replace(source[0], f"{schemas[source[1]]}.{source[1]}").strip().rstrip(";")
        expected = rows(run(STACK, "psql", "-XAtc", f"SELECT row_to_json(r) FROM ({select}) AS r"), keys)
        query = [lakepulse, "query", f"SELECT * FROM silver.{path.stem}", "--format", "json"]
        found = rows(run(*query, "--project", project, "--target", target), keys)
        differ = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
        faults += bool(differ)
        print(f"{'differ' if differ else 'same':<7}silver.{path.stem:<24}{len(expected):>8} rows in PostgreSQL {len(found):>8} here")
        for key in differ[:3]:
            print(f"       {key}\n         {expected.get(key)}\n         {found.get(key)}")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
