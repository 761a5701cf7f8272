#!/usr/bin/env python3
"""Other engines read every table of a finished run and must agree with `lakepulse query`.

usage: agree.py LAKEPULSE_BINARY PROJECT_DIR

For each table: rows, an exact sum of every whole-number and decimal column, non-null counts and
distinct counts of every text column. deltalake's QueryBuilder, Polars and DuckDB's Delta extension
each read the files themselves. Prints one line a table and ends with 1 when anything differs.
"""

import json
import pathlib
import subprocess
import sys
from decimal import Decimal

import duckdb
import duckdb_extension_delta  # noqa: F401  (installs the extension's files)
import polars
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

binary, project = sys.argv[1], pathlib.Path(sys.argv[2])
EXTENSION = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("delta.duckdb_extension"))
lake = project / ".lakepulse" / "lake"


def ask(sql):
    """The one row of a query, by the binary under test."""
    ran = subprocess.run(
        [binary, "query", sql, "--format", "json", "--project", str(project)], capture_output=True, text=True
    )
    if ran.returncode != 0:
        raise SystemExit(f"{sql}\n{ran.stderr}")
    return json.loads(ran.stdout.splitlines()[0])


def measures(schema):
    """Name, kind and column of each figure that is compared."""
    yield "rows", "count(*)", None
    for field in schema:
        name = f'"{field.name}"'
        if pa.types.is_integer(field.type) or pa.types.is_decimal(field.type):
            yield f"sum:{field.name}", f"sum(CAST({name} AS DECIMAL(38,{scale(field.type)})))", field
        elif pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            yield f"count:{field.name}", f"count({name})", field
            yield f"distinct:{field.name}", f"count(DISTINCT {name})", field
        elif pa.types.is_boolean(field.type):
            yield f"true:{field.name}", f"sum(CASE WHEN {name} THEN 1 ELSE 0 END)", field


def scale(kind):
    return kind.scale if pa.types.is_decimal(kind) else 0


def number(value):
    return None if value is None else Decimal(str(value)).normalize()


def with_polars(path, wanted):
    frame = polars.scan_delta(str(path))
    figures = []
    for name, _, field in wanted:
        if name == "rows":
            figures.append(polars.len().alias(name))
            continue
        column = polars.col(field.name)
        kind = name.split(":")[0]
        if kind == "sum":
            figures.append(column.cast(polars.Decimal(38, scale(field.type))).sum().alias(name))
        elif kind == "count":
            figures.append(column.count().alias(name))
        elif kind == "distinct":
            figures.append(column.drop_nulls().n_unique().alias(name))
        else:
            figures.append(column.sum().alias(name))
    return frame.select(figures).collect().row(0, named=True)


failed = False
tables = sorted(p.parent for p in lake.glob("*/*/_delta_log"))
if not tables:
    raise SystemExit(f"no table below {lake}")
print(f"{'table':<40} {'rows':>9} {'figures':>8}  deltalake  polars  duckdb")
for path in tables:
    name = f"{path.parent.name}.{path.name}"
    try:
        delta = DeltaTable(str(path))
    except Exception as error:
        print(f"  deltalake cannot open {name}: {str(error)[:300]}")
        failed = True
        continue
    schema = pa.schema(delta.schema().to_arrow())
    wanted = list(measures(schema))
    select = ", ".join(f'{sql} AS "{label}"' for label, sql, _ in wanted)
    ours = {k: number(v) for k, v in ask(f"SELECT {select} FROM {name}").items()}
    ours = {label: ours.get(label) for label, _, _ in wanted}
    verdicts = []
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{EXTENSION}'")

    def by_deltalake():
        builder = QueryBuilder().register("t", delta)
        return pa.table(builder.execute(f"SELECT {select} FROM t").read_all()).to_pylist()[0]

    def by_duckdb():
        cursor = connection.execute(f"SELECT {select} FROM delta_scan('{path}')")
        return dict(zip([d[0] for d in cursor.description], cursor.fetchone()))

    for engine, read in (("deltalake", by_deltalake), ("polars", lambda: with_polars(path, wanted)), ("duckdb", by_duckdb)):
        try:
            theirs = {k: number(v) for k, v in read().items()}
        except Exception as error:  # any refusal of a reader is a finding
            verdicts.append("ERROR")
            print(f"  {engine} cannot read {name}: {str(error)[:300]}")
            failed = True
            continue
        differ = [label for label in ours if (ours[label] or 0) != (theirs.get(label) or 0)]
        verdicts.append("agrees" if not differ else "DIFFERS")
        for label in differ:
            print(f"  {engine} {name} {label}: {theirs.get(label)} instead of {ours[label]}")
            failed = True
    print(f"{name:<40} {int(ours['rows'] or 0):>9} {len(wanted):>8}  {verdicts[0]:<9}  {verdicts[1]:<6}  {verdicts[2]}")
sys.exit(1 if failed else 0)
