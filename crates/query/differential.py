#!/usr/bin/env python3
"""Asks DuckDB, and PostgreSQL where it is given, what LakePulse's engine answered.

Cases come from the test `the_optimisers_rules_change_no_answer` with DIFFERENTIAL_OUT set; see docs/sql.md.
Prints each case whose rows differ and the counts; exits 1 when one differs that is not known to.

    differential.py CASES.jsonl [--postgres DSN] [--show N]
"""
import argparse, collections, datetime, decimal, json, math, re

import duckdb

D = decimal.Decimal
decimal.getcontext().prec = 80


def ours(text, kind):
    if text is None:
        return None
    if kind.startswith(("Int", "UInt")):
        return D(int(text))
    if kind.startswith("Decimal"):
        return D(text)
    if kind.startswith("Float"):
        return float(text.replace("inf", "Infinity").replace("Infinityinity", "Infinity"))
    if kind == "Boolean":
        return text == "true"
    if kind == "Null":
        return None
    return text.replace("T", " ").rstrip("Z") if kind.startswith(("Timestamp", "Date")) else text


def theirs(value):
    if isinstance(value, bool) or value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int):
        return D(value)
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S").rjust(19, "0") + (f".{value.microsecond:06d}".rstrip("0") if value.microsecond else "")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def plain(value):
    """A value as one that compares equal to itself in every engine."""
    if isinstance(value, (D, float)) and not isinstance(value, bool):
        if isinstance(value, float):
            if math.isnan(value):
                return ("n", "NaN")
            if math.isinf(value):
                return ("n", str(value))
            value = D(repr(value + 0.0))
        if value == 0:
            return ("n", "0")
        return ("n", f"{value:.12e}" if abs(value) < D("1e-4") or abs(value) > D("1e15") else str(value.quantize(D("1e-9")).normalize()))
    if isinstance(value, str):
        # The year 0 is written as 1 BC by some.
        value = re.sub(r"^0001(-\d\d-\d\d)(?: \(BC\)(.*)|(.*) BC)$", lambda m: f"0000{m[1]}{m[2] or m[3] or ''}", value)
        at = re.fullmatch(r"(\d{4,5}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)?", value)
        if at:
            value = at.group(1) + ((at.group(2) or "").rstrip("0").rstrip("."))
            value = value[:-9] if value.endswith(" 00:00:00") else value
        return ("s", value)
    return (type(value).__name__, value)


def key(row):
    return [("", "") if v is None else (plain(v)[0], str(plain(v)[1])) for v in row]


def rows_of(rows):
    return sorted(key(row) for row in rows)


def load(run, case):
    run("DROP SCHEMA IF EXISTS silver CASCADE")
    run("CREATE SCHEMA silver")
    for name, table in case["tables"].items():
        run(f"CREATE TABLE {name} ({', '.join(f'{c} {t}' for c, t in table['columns'])})")
        for row in table["rows"]:
            cells = (f"CAST({quoted(v)} AS {t})" for v, (_, t) in zip(row, table["columns"]))
            run(f"INSERT INTO {name} VALUES ({', '.join(cells)})")


def quoted(value):
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


class Duck:
    name = "duckdb"

    def __init__(self):
        self.con = duckdb.connect()
        self.con.execute("SET TimeZone='UTC'")

    def ask(self, case):
        load(self.con.execute, case)
        return self.con.execute(case["sql"]).fetchall()


class Postgres:
    name = "postgresql"

    def __init__(self, dsn):
        import psycopg2, psycopg2.extensions as ext
        self.con = psycopg2.connect(dsn)
        self.con.autocommit = True
        # Times as text: Python has no year 10000 and no infinity.
        as_text = ext.new_type((1114, 1082, 1184), "TIMES", lambda value, _: value)
        ext.register_type(as_text, self.con)

    def ask(self, case):
        with self.con.cursor() as cur:
            cur.execute("SET client_min_messages = error; SET TimeZone = 'UTC'")
            load(cur.execute, case)
            cur.execute(case["sql"])
            return cur.fetchall()


OVERFLOW = ("verflow", "too small", "does not fit", "out of range", "Cast error", "cast", "too large", "beyond")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("cases")
    args.add_argument("--postgres")
    args.add_argument("--show", type=int, default=10)
    args = args.parse_args()
    engines = [Duck()] + ([Postgres(args.postgres)] if args.postgres else [])
    counts, shown = collections.Counter(), 0
    for line in open(args.cases):
        case = json.loads(line)
        for engine in engines:
            try:
                want = rows_of([theirs(v) for v in row] for row in engine.ask(case))
            except Exception as error:  # noqa: BLE001
                want = error
            if "error" in case:
                # Ours refuses: as the other engine does, or because a result does not fit its type.
                if isinstance(want, Exception):
                    verdict = "both refuse"
                elif any(word in case["error"] for word in OVERFLOW):
                    verdict = "ours: does not fit"
                else:
                    verdict = "ours refuses"
            elif isinstance(want, Exception):
                verdict = "theirs refuses"
            else:
                have = rows_of([ours(v, t) for v, t in zip(row, case["types"])] for row in case["rows"])
                verdict = "same" if have == want else "DIFFERENT"
            counts[engine.name, verdict] += 1
            if verdict in ("DIFFERENT", "ours refuses") and shown < args.show:
                shown += 1
                print(f"--- {engine.name}: {verdict}, seed {case['seed']}\n{case['sql']}")
                print("ours  ", case.get("error", have if verdict == "DIFFERENT" else None))
                print("theirs", want)
    for (engine, verdict), n in sorted(counts.items()):
        print(f"{engine:12} {verdict:20} {n}")
    return 1 if any(v == "DIFFERENT" for _, v in counts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
