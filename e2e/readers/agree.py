#!/usr/bin/env python3
"""Other engines read every table of a finished run and must agree with `lakepulse query`.

usage: agree.py [--target NAME --endpoint URL] [--engines a,b,c] [--trino HOST:PORT] [--json FILE] LAKEPULSE PROJECT

For each table and engine:
  now   the newest version: rows, exact sums of numbers, counts and distinct counts of texts, rows at both
        ends of a column of each type (what statistics could hide), a checksum of every value of every row
  then  a version half as old: rows and checksum
  refuses  instead of all: a table that an engine is known to read wrongly has to be refused by it
  feed  where the table has a change feed: what was told since then, added to what was there, is what is there now

Keys for S3 come from LAKE_ACCESS_KEY and LAKE_SECRET_KEY; jars for Spark from `compose/native/stack spark`.
Prints a line a table; ends with 1 when anything differs, or when Trino would write.
"""

import argparse
import collections
import concurrent.futures
import functools
import json
import pathlib
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

import binary
import rows
from engines import ENGINES, s3_options
from shapes import Shape

Place = collections.namedtuple("Place", "table location")


class Setting:
    """The run that is read."""

    def __init__(self, given):
        self.given, self.endpoint, self.trino = given, given.endpoint, given.trino
        self.options = s3_options(given.endpoint) if given.endpoint else None
        self.lakepulse = binary.Binary(given)
        self.query = self.lakepulse.query

    def statements(self, engine, *more):
        """What makes the tables known to an engine."""
        lines = self.lakepulse("register", "--engine", engine, *more).splitlines()
        return [line.removesuffix(";") for line in lines]

    def places(self):
        return [Place(place["table"], place["location"]) for place in self.lakepulse.places()]


class Truth:
    """A table as `lakepulse query` has it, at one version."""

    def __init__(self, setting, place, version, figures):
        self.place, self.version = place, version
        delta = DeltaTable(place.location, version=version, storage_options=setting.options)
        self.schema = pa.schema(delta.schema().to_arrow())
        self.schema = pa.schema([pa.field(field.name, plain(field.type)) for field in self.schema])
        found = setting.query(f"SELECT * FROM {place.table} VERSION AS OF {version}")
        self.rows = rows.table(found, self.schema, rows.from_json)
        self.figures = {}
        if figures:
            answer = setting.query(f"SELECT {select(self.schema)} FROM {place.table} VERSION AS OF {version}")[0]
            self.figures = {name: number(answer.get(name)) for name in measures(self.schema)}

    @functools.cache
    def checksum(self, milliseconds):
        return rows.checksum(self.rows, milliseconds)

    def edges(self, engine):
        """Conditions at both ends of a column of each type, with the rows that each must find."""
        kinds = set()
        for field in self.schema:
            kind = next((name for name, is_kind, _ in LITERALS if is_kind(field.type)), None)
            column = self.rows[field.name]
            if kind is None or kind in kinds or column.null_count == len(column):
                continue
            kinds.add(kind)
            literal = next(literal for name, _, literal in LITERALS if name == kind)
            bounds = pc.min_max(column)
            for sign, end in (("<=", "min"), (">=", "max")):
                written = literal(engine, bounds[end].as_py(), field.type)
                if written is not None:
                    found = pc.sum(pc.equal(column, bounds[end])).as_py()
                    yield f'"{field.name}" {sign} {written}', found


def plain(kind):
    """A type without views and large offsets, however the library writes it."""
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain(field.type)) for field in kind])
    if rows.is_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(plain(kind.value_type))
    if pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_binary_view(kind) or pa.types.is_large_binary(kind):
        return pa.binary()
    return kind


def text(value):
    return "'" + value.replace("'", "''") + "'"


# Types whose ends are looked for: name, test, literal.
LITERALS = (
    ("whole", pa.types.is_integer, lambda _, value, kind: str(value)),
    ("day", pa.types.is_date, lambda _, value, kind: f"DATE '{value}'"),
    ("decimal", pa.types.is_decimal, lambda _, value, kind: f"CAST('{value}' AS DECIMAL(38, {kind.scale}))"),
    ("instant", pa.types.is_timestamp, lambda engine, value, kind: engine.instant(value)),
    ("text", pa.types.is_string, lambda _, value, kind: text(value)),
)


def measures(schema):
    """SQL of each figure that is compared, by name."""
    found = {"rows": "count(*)"}
    for field in schema:
        name = f'"{field.name}"'
        if pa.types.is_integer(field.type) or pa.types.is_decimal(field.type):
            scale = field.type.scale if pa.types.is_decimal(field.type) else 0
            found[f"sum:{field.name}"] = f"sum(CAST({name} AS DECIMAL(38, {scale})))"
        elif pa.types.is_string(field.type):
            found[f"count:{field.name}"] = f"count({name})"
            found[f"distinct:{field.name}"] = f"count(DISTINCT {name})"
        elif pa.types.is_boolean(field.type):
            found[f"true:{field.name}"] = f"sum(CASE WHEN {name} THEN 1 ELSE 0 END)"
    return found


def select(schema):
    return ", ".join(f'{sql} AS "{name}"' for name, sql in measures(schema).items())


def number(value):
    return None if value is None else Decimal(str(value)).normalize()


def now(engine, truth):
    """Differences at the newest version."""
    place = truth.place
    answer = engine.ask(place, None, f"SELECT {select(truth.schema)} FROM {{t}}").to_pylist()[0]
    for name, ours in truth.figures.items():
        theirs = number(answer[name])
        # The sum of no rows is null in some and nothing in others.
        if (theirs or 0) != (ours or 0):
            yield f"{name}: {theirs} instead of {ours}"
    edges = list(truth.edges(engine))
    branches = [f"SELECT {n} AS n, count(*) AS found FROM {{t}} WHERE {edge}" for n, (edge, _) in enumerate(edges)]
    if branches:
        found = engine.ask(place, None, " UNION ALL ".join(branches)).to_pylist()
        found = {int(row["n"]): int(row["found"]) for row in found}
        for n, (edge, wanted) in enumerate(edges):
            if found[n] != wanted:
                yield f"{edge}: {found[n]} rows instead of {wanted}"
    yield from same(engine, truth, None)


def same(engine, truth, version):
    """Differences of rows."""
    found = rows.conform(engine.ask(truth.place, version, "SELECT * FROM {t}", truth.schema), truth.schema)
    if len(found) != len(truth.rows):
        yield f"{len(found)} rows instead of {len(truth.rows)}"
    elif rows.checksum(found, engine.milliseconds) != truth.checksum(engine.milliseconds):
        columns = [
            name
            for name in truth.schema.names
            if rows.checksum(found.select([name]), engine.milliseconds)
            != rows.checksum(truth.rows.select([name]), engine.milliseconds)
        ]
        yield f"another checksum; columns {columns or 'that do not belong together'}"


def feed(engine, truth, before):
    """Differences between what was told and what became."""
    told = engine.feed(truth.place, before.version, truth.version)
    kinds = told["_change_type"].to_pylist()
    columns = rows.conform(told.select(truth.schema.names), truth.schema)
    there = collections.Counter(rows.keyed(before.rows))
    for kind, row in zip(kinds, rows.keyed(columns)):
        there[row] += -1 if kind in ("delete", "update_preimage") else 1
    there = collections.Counter({row: count for row, count in there.items() if count != 0})
    if there != collections.Counter(rows.keyed(truth.rows)):
        yield f"{len(kinds)} changes do not lead from version {before.version} to {truth.version}"
    if not kinds and before.rows != truth.rows:
        yield "no changes at all"


def checked(engine, shape, truth, before):
    """Differences by check."""
    if engine.cannot(shape):
        try:
            engine.ask(truth.place, None, "SELECT * FROM {t}")
        except FileNotFoundError:
            return {"refuses": []}
        return {"refuses": ["it reads what it must not"]}
    checks = {"now": lambda: now(engine, truth)}
    if engine.travels:
        checks["then"] = lambda: same(engine, before, before.version)
    if engine.feeds and shape.feed:
        checks["feed"] = lambda: feed(engine, truth, before)
    found = {}
    for check, differences in checks.items():
        try:
            found[check] = list(differences())
        except Exception as error:  # any refusal of a reader is a finding
            found[check] = [f"{type(error).__name__}: {str(error)[:600]}"]
    return found


def beyond(trino, place, told):
    """What Trino must not do, and what docs/readers.md says that it cannot. Whether that is not so."""
    through = trino.refuses(place)
    for sql in through:
        print(f"  trino would write: {sql}")
    if not through:
        print("trino refuses to write")
    feeds = [place.table for place in told if trino.refuses_feed(place) is None]
    for place in told[:1]:
        print(f"trino on the change feed of {place.table}: {trino.refuses_feed(place)}")
    if feeds:
        print(f"  trino reads change feeds, and nobody compares them: {feeds}")
    return bool(through or feeds)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    binary.arguments(parser)
    parser.add_argument("--engines", default="deltalake,polars,duckdb")
    parser.add_argument("--trino")
    return parser.parse_args()


def main():
    given = arguments()
    setting = Setting(given)
    places = setting.places()
    if not places:
        raise SystemExit("no table in the lake")
    pool = concurrent.futures.ThreadPoolExecutor(2)

    def learn(place):
        shape = Shape.of(setting, place)
        truth = Truth(setting, place, shape.version, True)
        return shape, truth, Truth(setting, place, shape.version // 2, False)

    learned = [pool.submit(learn, place) for place in places]
    engines = {name: ENGINES[name](setting) for name in given.engines.split(",")}
    print(f"{'table':<34} {'rows':>7} {'now@':>5} {'then@':>5} {'figures':>7}  {'with':<8}  "
          + "  ".join(f"{name:<14}" for name in engines))
    results, shapes = [], collections.Counter()
    # Engines side by side; one engine is asked one thing at a time.
    side_by_side = concurrent.futures.ThreadPoolExecutor(len(engines))
    for place, learning in zip(places, learned):
        shape, truth, before = learning.result()
        shapes.update(shape.words())
        shapes["compacted_vectors"] += shape.compacted and shape.vectors
        asked = [side_by_side.submit(checked, engine, shape, truth, before) for engine in engines.values()]
        cells, faults = [], []
        for name, checks in zip(engines, asked):
            checks = checks.result()
            words = [check.upper() + "!" if found else check for check, found in checks.items()]
            cells.append(f"{' '.join(words):<14}")
            faults += [f"  {name} {check}: {fault}" for check, found in checks.items() for fault in found]
            results += [
                {"table": place.table, "engine": name, "check": check, "faults": found}
                for check, found in checks.items()
            ]
        print(f"{place.table:<34} {len(truth.rows):>7} {truth.version:>5} {before.version:>5} "
              f"{len(truth.figures):>7}  {shape.letters():<8}  {'  '.join(cells)}", flush=True)
        for fault in faults:
            print(fault, flush=True)
    failed = any(result["faults"] for result in results)
    if "trino" in engines:
        told = [place for place, learning in zip(places, learned) if learning.result()[0].feed]
        failed |= beyond(engines["trino"], places[-1], told)
    print("tables with " + ", ".join(f"{word} ({letter}) {shapes[word]}" for letter, word in Shape.WORDS))
    print(f"{len(results)} checks of {len(places)} tables, {sum(bool(r['faults']) for r in results)} differ")
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps({"tables": len(places), "shapes": shapes, "checks": results}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
