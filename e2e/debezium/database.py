"""PostgreSQL's side: tables with the hard cases, and writers whose transactions stay open over many steps."""
from __future__ import annotations

import json
import random
import subprocess
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

STACK = Path(__file__).resolve().parents[2] / "compose/native/stack"

Row = dict[str, Any]

# `external`: not compressed, so that a long value surely lies outside the row and an update that leaves it alone
# does not send it.
TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, name text, notes text, amount numeric, tags int[]);
CREATE TABLE orders (
    shop text, id int, total numeric(12,2), placed timestamptz, blob bytea, PRIMARY KEY (shop, id)
);
CREATE TABLE fence (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE signals (id text PRIMARY KEY, type text, data text);
ALTER TABLE customers ALTER notes SET STORAGE EXTERNAL, ALTER tags SET STORAGE EXTERNAL;
ALTER TABLE orders ALTER blob SET STORAGE EXTERNAL;
INSERT INTO fence VALUES (1, 0);
-- Every customer there ever was, of transactions that were committed.
CREATE TABLE was (n serial, id int, name text, notes text, amount numeric, tags int[]);
CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO was (id, name, notes, amount, tags) VALUES (NEW.id, NEW.name, NEW.notes, NEW.amount, NEW.tags);
    RETURN NULL;
END $$;
CREATE TRIGGER remember AFTER INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION remember();
"""


class Session:
    """A psql that stays, so that its transaction stays open."""

    def __init__(self, database: str) -> None:
        command = [str(STACK), "psql", "-d", database, "-XqAt"]
        pipe = subprocess.PIPE
        self._psql = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self._answers = 0

    def run(self, sql: str) -> list[str]:
        """Lines of the answer. Raises on an error of any statement."""
        assert self._psql.stdin and self._psql.stdout
        self._answers += 1
        mark = f"-- answer {self._answers}"
        self._psql.stdin.write(f"{sql}\n;\n\\echo {mark}\n")
        self._psql.stdin.flush()
        lines: list[str] = []
        for line in self._psql.stdout:
            if line.rstrip("\n") == mark:
                break
            lines.append(line.rstrip("\n"))
        else:
            raise RuntimeError(f"psql ended: {lines}")
        if any(line.startswith(("ERROR:", "FATAL:", "psql:")) for line in lines):
            raise RuntimeError(f"{sql}: {lines}")
        return lines

    def rows(self, select: str) -> list[Row]:
        lines = self.run(f"SELECT row_to_json(r) FROM ({select}) AS r")
        return [json.loads(line, parse_float=Decimal) for line in lines if line]

    def close(self) -> None:
        if self._psql.stdin:
            self._psql.stdin.close()
        self._psql.wait(timeout=30)


@dataclass
class Writer:
    """Changes rows of its own keys only, so that writers never wait for each other."""

    session: Session
    random: random.Random
    number: int
    keys_each: int
    # Held open by the test: it may write on, but not end.
    held: bool = False
    open: bool = False
    transactions: int = 0
    rolled_back: int = 0
    # Statements that change a key write its long values, too.
    whole_rekeys: bool = False
    extra: bool = False
    _values: int = field(default=0)

    @property
    def keys(self) -> range:
        return range(self.number * self.keys_each, (self.number + 1) * self.keys_each)

    def step(self) -> None:
        """Begins a transaction, writes in it, or ends it."""
        if self.open and not self.held and self.random.random() < 0.12:
            self.end()
            return
        if not self.open:
            self.session.run("BEGIN")
            self.open = True
            self.transactions += 1
        self.session.run(self._statement())

    def end(self) -> None:
        """Ends its transaction, if one is open: some are rolled back."""
        if not self.open:
            return
        rolls_back = self.random.random() < 0.15
        self.session.run("ROLLBACK" if rolls_back else "COMMIT")
        self.rolled_back += rolls_back
        self.open = self.held = False

    def burst(self) -> None:
        """One long transaction over all its keys, then short ones."""
        first, last = self.keys[0], self.keys[-1]
        name = self._value()
        self.session.run(f"""DO $$ BEGIN FOR i IN 1..10 LOOP
            UPDATE customers SET name = '{name}.' || i, notes = repeat('{name}.' || i || ' ', 1000)
            WHERE id BETWEEN {first} AND {last};
            END LOOP; END $$""")
        for _ in range(20):
            self.session.run(self._customer())
            self.session.run(self._order())

    def has_written(self) -> bool:
        return self.open and self.session.run("SELECT pg_current_xact_id_if_assigned() IS NOT NULL") == ["t"]

    def _statement(self) -> str:
        statement = self._customer() if self.random.random() < 0.65 else self._order()
        match self.random.randrange(20):
            case 0:
                return f"SAVEPOINT s; {statement}; ROLLBACK TO SAVEPOINT s"
            case 1:
                return f"SAVEPOINT s; {statement}; RELEASE SAVEPOINT s"
        return statement

    def _value(self) -> str:
        self._values += 1
        return f"w{self.number}.{self._values}"

    def _notes(self) -> str:
        """Mostly long, sometimes short enough to stay in the row, sometimes null."""
        long = f"repeat('{self._value()} ', 1200)"
        return self.random.choice([long, long, long, long, f"'{self._value()}'", "NULL"])

    def _tags(self) -> str:
        self._values += 1
        long = f"array(SELECT generate_series({self._values}, {self._values + 799}))"
        return self.random.choice([long, long, f"ARRAY[{self._values}, NULL, 3]", "'{}'", "NULL"])

    def _amount(self) -> str:
        return self.random.choice(["NULL", "0", f"{self.random.randrange(-10**9, 10**9)}e-{self.random.randrange(9)}"])

    def _customer(self) -> str:
        a, b = self.random.sample(self.keys, 2)
        name, last = self._value(), self.keys[-1]
        row = f"({a}, '{name}', {self._notes()}, {self._amount()}, {self._tags()})"
        columns = "customers (id, name, notes, amount, tags)"
        free = f"NOT EXISTS (SELECT 1 FROM customers WHERE id = {b})"
        long = f", notes = {self._notes()}, tags = {self._tags()}" if self.whole_rekeys else ""
        choices = {
            f"INSERT INTO {columns} VALUES {row} ON CONFLICT DO NOTHING": 6,
            f"INSERT INTO {columns} VALUES {row} ON CONFLICT (id) DO UPDATE SET name = excluded.name": 3,
            f"UPDATE customers SET name = '{name}' WHERE id = {a}": 6,
            f"UPDATE customers SET amount = amount + 1.50 WHERE id BETWEEN {a} AND {min(a + 4, last)}": 2,
            f"UPDATE customers SET notes = {self._notes()} WHERE id = {a}": 3,
            f"UPDATE customers SET tags = {self._tags()} WHERE id = {a}": 2,
            f"UPDATE customers SET id = {b}, name = '{name}'{long} WHERE id = {a} AND {free}": 4,
            f"DELETE FROM customers WHERE id = {a}": 3,
            f"DELETE FROM customers WHERE id = {a}; INSERT INTO {columns} VALUES {row}": 2,
        }
        if self.extra:
            choices[f"UPDATE customers SET extra = '{name}' WHERE id = {a}"] = 4
            choices[f"UPDATE customers SET extra = NULL WHERE id = {a}"] = 2
        return self.random.choices(list(choices), list(choices.values()))[0]

    def _order(self) -> str:
        a, b = self.random.sample(self.keys, 2)
        shop, other = self.random.sample(["north", "süd", "o'st"], 2)
        shop, other = (name.replace("'", "''") for name in (shop, other))
        total = f"{self.random.randrange(-10**6, 10**9)} / 100.0"
        at = f"timestamptz '2026-01-01' + interval '{self.random.randrange(10**12)} microseconds'"
        self._values += 1
        blob = self.random.choice([f"decode(repeat('{self._values:08x}', 800), 'hex')", "'\\x00ff'", "NULL"])
        row = f"('{shop}', {a}, {total}, {at}, {blob})"
        is_a = f"shop = '{shop}' AND id = {a}"
        free = f"NOT EXISTS (SELECT 1 FROM orders WHERE shop = '{other}' AND id = {b})"
        long = f", blob = {blob}" if self.whole_rekeys else ""
        choices = {
            f"INSERT INTO orders VALUES {row} ON CONFLICT DO NOTHING": 6,
            f"UPDATE orders SET total = {total} WHERE {is_a}": 4,
            f"UPDATE orders SET placed = {at} WHERE id = {a}": 3,
            f"UPDATE orders SET blob = {blob} WHERE {is_a}": 2,
            f"UPDATE orders SET shop = '{other}', id = {b}{long} WHERE {is_a} AND {free}": 2,
            f"DELETE FROM orders WHERE {is_a}": 2,
            f"DELETE FROM orders WHERE {is_a}; INSERT INTO orders VALUES {row}": 1,
        }
        return self.random.choices(list(choices), list(choices.values()))[0]
