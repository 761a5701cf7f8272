"""Open transactions, snapshots and a connector that dies, with a real Debezium: silver must equal PostgreSQL.

Writers change their own keys in transactions that stay open over many steps. Meanwhile the connector takes
snapshots: the first one, incremental ones, blocking ones with a condition. Every third round Connect is killed with
`kill -9`: during a snapshot, before it, or in a burst, so that it sends part of a long transaction again. Every round
ends all transactions, moves a fence, drains LakePulse, and compares every row. After the rounds the history of
customers is compared with every row that PostgreSQL ever had, and in the end a column comes with a default. Run it
with `e2e/debezium/run`, which starts the services.

Exit 1 at the first difference, with the events of its key. The connector, its slot and its database go in any case;
topics, lake and project stay after a difference, to be looked at.
"""
from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from connector import Connector, Topics, send_signal, short
from database import TABLES, Row, Session, Writer
from lake import Project, forget

# A snapshot that dies with Connect may be forgotten by Debezium.
SNAPSHOT_SECONDS = 60
FENCE_SECONDS = 180
WRITERS = 4
KEYS_EACH = 16

# What is compared: name, key columns, PostgreSQL's rows, silver's.
CUSTOMERS = "SELECT id, name, notes, amount, tags{extra} FROM {table}"
VERSIONS = 'silver.customer_versions WHERE "__END_AT" IS NULL'
ORDERS = "SELECT shop, id, total, placed, {blob} FROM {table}"
Comparison = tuple[str, tuple[str, ...], str, str]


def comparisons(extra: bool) -> list[Comparison]:
    more = ", extra" if extra else ""
    customers = CUSTOMERS.format(extra=more, table="customers")
    orders = ORDERS.format(blob="encode(blob, 'hex') AS blob", table="orders")
    return [
        ("customers", ("id",), customers, CUSTOMERS.format(extra=more, table="silver.customers")),
        ("customer_versions", ("id",), customers, CUSTOMERS.format(extra=more, table=VERSIONS)),
        ("orders", ("shop", "id"), orders, ORDERS.format(blob="blob", table="silver.orders")),
    ]


@dataclass
class Difference(Exception):
    """Rows of one table that are not PostgreSQL's."""

    table: str
    keys: list[str]
    expected: dict[str, Row]
    found: dict[str, Row]


class Test:
    def __init__(self, name: str, folder: Path, options: argparse.Namespace) -> None:
        self.name = name
        self.random = random.Random(options.seed)
        self.rounds: int = options.rounds
        # A snapshot that removes what it does not bring must bring all.
        self.filters: bool = options.snapshots == "partial"
        self.postgres = Session("postgres")
        self.postgres.run(f"CREATE DATABASE {name}")
        self.database = Session(name)
        self.database.run(TABLES)
        self.database.run(f"CREATE PUBLICATION {name} FOR TABLE customers, orders, fence, signals")
        self.writers = [
            Writer(Session(name), random.Random(f"{options.seed}/{number}"), number, KEYS_EACH)
            for number in range(WRITERS)
        ]
        self.connector = Connector(name, options.converter, not options.no_metadata)
        self.topics = Topics(name)
        self.project = Project(folder, name, options.converter, options.snapshots)
        self.extra = False
        self.fence = 0
        self.beside: subprocess.Popen[bytes] | None = None
        # Rows that PostgreSQL had before the first snapshot, and those that a connector sent behind a snapshot.
        self.before = 0
        self.behind_snapshot: list[range] = []
        # Of the whole run.
        self.rows = self.across = self.snapshots = self.kills = 0

    # What happens in a round.

    def first_round(self) -> None:
        """The first snapshot, while writers go on."""
        self.rekey_whole(True)
        self.write(200)
        self.await_connector()
        if self.random.random() < 0.5:
            self.kill_connect()
        self.write_until("the first snapshot is done", FENCE_SECONDS, lambda: self.completed("Initial Snapshot", 0))
        self.snapshots += 1
        self.write(60)
        self.end_round("first snapshot")
        self.before = self.last_row()
        self.behind_snapshot.append(range(self.before + 1))

    def next_round(self, number: int) -> None:
        kind = self.random.choice(["incremental", "incremental", "blocking"])
        dies = self.random.choice(["burst", "burst", "midway", "away"]) if number % 3 == 2 else ""
        truncates = number % 5 == 4
        begun = self.last_row() + 1
        self.rekey_whole(kind == "blocking")
        if truncates:
            self.database.run("TRUNCATE orders")
        self.write(self.random.randrange(40, 240), drains=True)
        self.snapshot(f"round-{number}", kind, dies, truncates)
        self.write(self.random.randrange(240), drains=True)
        if dies == "burst":
            self.burst()
        self.end_round(" ".join([kind, *["truncate"] * truncates, *[f"killed {dies}"] * bool(dies)]))
        if kind == "blocking":
            self.behind_snapshot.append(range(begun, self.last_row() + 1))

    def rekey_whole(self, whole: bool) -> None:
        """A key that changes takes long values along, which is wrong behind a snapshot that shows what came after
        (docs/known-issues.md)."""
        for writer in self.writers:
            writer.whole_rekeys = whole

    def last_row(self) -> int:
        return int(self.database.run("SELECT last_value FROM was_n_seq")[0])

    def snapshot(self, id: str, kind: str, dies: str, truncated: bool) -> None:
        """Takes a snapshot across transactions that have written before it and end behind it."""
        while sum(held := [writer.has_written() for writer in self.writers]) < 2:
            self.write(1)
        for writer, written in zip(self.writers, held):
            writer.held = written and self.random.random() < 0.8
        tables = ["public.customers"]
        # A row without a position cannot be told from one behind the truncate (docs/debezium.md).
        if not (truncated and kind == "incremental") and self.random.random() < 0.5:
            tables.append("public.orders")
        data: dict[str, Any] = {"type": kind, "data-collections": tables}
        if not self.filters:
            pass
        elif kind == "blocking":
            query = "SELECT * FROM public.customers WHERE id >= 32"
            data["additional-conditions"] = [{"data-collection": "public.customers", "filter": query}]
        elif self.random.random() < 0.3:
            data["additional-conditions"] = [{"data-collection": "public.customers", "filter": "id >= 32"}]
        seen = len(self.topics.notifications)
        # The signal, and what stands around it, wait for a connector that is away: its snapshot shows what it has
        # yet to send.
        if dies == "away":
            self.kill_connect()
            self.write(60)
        send_signal(self.database, id, "execute-snapshot", data)
        if dies in ("midway", "away"):
            self.write(self.random.randrange(60))
            if dies == "midway":
                self.kill_connect()
            self.await_connector()
        aggregate, wanted = ("Initial Snapshot", None) if kind == "blocking" else ("Incremental Snapshot", id)
        done = lambda: self.completed(aggregate, seen, wanted)
        self.snapshots += self.write_until("the snapshot is done", SNAPSHOT_SECONDS, done, may_fail=bool(dies))
        self.across += sum(writer.held for writer in self.writers)
        for writer in self.writers:
            writer.held = False

    def burst(self) -> None:
        """A long transaction, short ones on the same keys, and Connect dies: it sends part of them again."""
        for writer in self.writers:
            writer.end()
        if self.random.random() < 0.5:
            self.database.run("TRUNCATE orders")
        for writer in self.writers:
            writer.burst()
        time.sleep(self.random.random() * 1.5)
        self.kill_connect()
        self.await_connector()

    def await_connector(self) -> None:
        self.write_until("the connector runs", FENCE_SECONDS, self.connector.running)

    def kill_connect(self) -> None:
        self.kills += 1
        self.connector.kill()
        self.write(self.random.randrange(60))

    def write(self, steps: int, drains: bool = False) -> None:
        """Steps of writers; now and then LakePulse reads beside them, and is killed sometimes."""
        for _ in range(steps):
            self.random.choice(self.writers).step()
            if drains and self.beside is None and self.random.random() < 0.006:
                self.beside = self.project.start_drain()
            elif self.beside and self.random.random() < 0.02:
                self.beside.kill()
                self.beside.wait()
                self.beside = None
            time.sleep(0.004)
        self.topics.poll()

    def write_until(self, what: str, seconds: float, done: Callable[[], bool], may_fail: bool = False) -> bool:
        """Steps of writers until something is so."""
        deadline = time.monotonic() + seconds
        looked = time.monotonic()
        while not done():
            if time.monotonic() > deadline:
                if may_fail:
                    return False
                raise RuntimeError(f"{what}: not within {seconds} s")
            if time.monotonic() > looked + 1:
                looked = time.monotonic()
                self.connector.running()
            self.write(1)
            time.sleep(0.03)
        return True

    def completed(self, aggregate: str, seen: int, id: str | None = None) -> bool:
        return any(
            (said["aggregate_type"], said["type"]) == (aggregate, "COMPLETED") and id in (None, said["id"])
            for said in self.topics.notifications[seen:]
        )

    # What is looked at in the end of a round.

    def end_round(self, what: str) -> None:
        begun = time.monotonic()
        for writer in self.writers:
            writer.end()
        self.await_fence()
        if self.beside:
            self.beside.wait(timeout=FENCE_SECONDS)
            self.beside = None
        self.project.apply()
        self.project.drain()
        compared = self.compare()
        events = len(self.topics.events)
        print(
            f"{what:<28} {events:>7} events, {self.topics.repeats():>5} again; {self.across:>3} transactions open "
            f"across {self.snapshots} snapshots; rows {compared} same; {time.monotonic() - begun:.1f} s",
            flush=True,
        )

    def await_fence(self) -> None:
        """All that was committed is on the topics: the slot moves on once the records before it are acknowledged."""
        self.fence += 1
        self.database.run(f"UPDATE fence SET n = {self.fence}")
        deadline = time.monotonic() + FENCE_SECONDS
        pushed = time.monotonic()
        while not self.fence_passed():
            self.topics.poll(0.1)
            self.connector.running()
            # Without transaction metadata a connector acknowledges a transaction with the one that follows.
            if time.monotonic() > pushed + 2:
                pushed = time.monotonic()
                self.database.run("UPDATE fence SET n = n")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the fence {self.fence} is not on its topic within {FENCE_SECONDS} s")
        self.topics.poll(0.1)

    def fence_passed(self) -> bool:
        fence = self.topics.fence()
        if fence is None or fence.row["n"] != self.fence:
            return False
        passed = f"confirmed_flush_lsn - '0/0' > {fence.lsn} FROM pg_replication_slots WHERE slot_name = '{self.name}'"
        return self.postgres.run(f"SELECT {passed}") == ["t"]

    def compare(self) -> str:
        found = self.project.rows("SELECT n FROM silver.fence")
        if found != [{"n": self.fence}]:
            raise Difference("fence", ["1"], {"1": {"n": self.fence}}, {"1": row for row in found})
        counts: list[str] = []
        for table, keys, expected_select, found_select in comparisons(self.extra):
            expected = by_key(self.database.rows(expected_select), keys)
            found = by_key(self.project.rows(found_select), keys)
            differ = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
            if differ:
                raise Difference(table, sorted(differ), expected, found)
            self.rows += len(expected)
            counts.append(str(len(expected)))
        return "+".join(counts)

    def check_history(self) -> str:
        """Every version was a row in PostgreSQL, and every row there is a version, no more often than it was.

        A blocking snapshot shows what the connector has yet to send. Then an event that leaves a long value alone
        takes it from the snapshot's row, which may be newer: such versions are counted, and no difference.
        """
        columns = ("name", "amount", "id", "notes", "tags")
        text = ", ".join(columns)
        was = [(row["n"], values(row, columns)) for row in self.database.rows(f"SELECT n, {text} FROM was")]
        versions = [values(row, columns) for row in self.project.rows(f"SELECT {text} FROM silver.customer_versions")]
        behind = {row[:3] for n, row in was if any(n in span for span in self.behind_snapshot)}
        present, times = Counter(versions), Counter(row for _, row in was)
        short_of = {row for n, row in was if n > self.before and row not in present}
        beyond = {row for row, count in present.items() if count > times[row]}
        differ = [row for row in short_of | beyond if row[:3] not in behind]
        if differ:
            row = dict(zip(columns, differ[0]))
            key = str(row["id"])
            was_times, is_times = ({key: row | {"times": count[differ[0]]}} for count in (times, present))
            raise Difference("customer_versions", [key], was_times, is_times)
        return f"{len(versions)} versions, {len(short_of | beyond)} of them made of two by snapshots"

    # The end.

    def add_column(self) -> str:
        """A column with a default: PostgreSQL sends no event for rows that were there, the schema carries it."""
        self.database.run("ALTER TABLE customers ADD COLUMN extra text DEFAULT 'old'")
        for writer in self.writers:
            writer.extra = True
        self.write(80)
        # Bronze learns the column from the records before a model can name it.
        self.end_round("column added")
        self.project.write_models(extra=True)
        self.extra = True
        self.end_round("column in the models")
        self.write(80)
        self.end_round("column changed")
        return "its default is in rows without an event, too"

    def close(self, keep: bool) -> None:
        """What others would trip over goes: a slot holds PostgreSQL's log."""
        if self.beside:
            self.beside.kill()
            self.beside.wait()
        self.topics.close()
        for session in (*(writer.session for writer in self.writers), self.database):
            session.close()
        if not keep:
            self.connector.delete()
            slot = f"FROM pg_replication_slots WHERE slot_name = '{self.name}'"
            for _ in range(100):
                if self.postgres.run(f"SELECT active {slot}") != ["t"]:
                    break
                time.sleep(0.1)
            self.postgres.run(f"SELECT pg_drop_replication_slot(slot_name) {slot}")
            self.postgres.run(f"DROP DATABASE {self.name} WITH (FORCE)")
        self.postgres.close()


def values(row: Row, columns: tuple[str, ...]) -> tuple[Any, ...]:
    found = (plain(name, row[name]) for name in columns)
    return tuple(tuple(value) if isinstance(value, list) else value for value in found)


def by_key(rows: list[Row], keys: tuple[str, ...]) -> dict[str, Row]:
    """Rows by key, with values of one spelling. A key that is there twice differs from any row."""
    found: dict[str, Row] = {}
    for row in rows:
        key = "|".join(str(row[name]) for name in keys)
        plain_row = {name: plain(name, value) for name, value in row.items()}
        found[key] = {"twice": [found[key], plain_row]} if key in found else plain_row
    return found


def plain(column: str, value: Any) -> Any:
    if value is None:
        return None
    if column in ("amount", "total"):
        return Decimal(str(value)).normalize()
    if column == "placed":
        return datetime.fromisoformat(value).astimezone(timezone.utc)
    return value


def explain(difference: Difference, topics: Topics) -> None:
    """The first key that differs: both rows, and all that its topic says of it."""
    key = difference.keys[0]
    expected, found = difference.expected.get(key), difference.found.get(key)
    print(f"DIFFERENCE in silver.{difference.table}: {len(difference.keys)} keys, {', '.join(difference.keys[:12])}")
    columns = sorted((expected or {}).keys() | (found or {}).keys())
    print(f"key {key}")
    for where, row in (("PostgreSQL", expected), ("silver", found)):
        values = [f"{name}={short(row.get(name))}" for name in columns] if row else ["no such row"]
        print(f"  {where:<11} {' '.join(values)}")
    if expected and found:
        print(f"  differ in   {', '.join(name for name in columns if expected.get(name) != found.get(name))}")
    topic = difference.table.replace("customer_versions", "customers")
    events = topics.of(topic, key)
    print(f"the last of {len(events)} events of this key (partition@offset):")
    truncates = [event for event in topics.events if event.table == topic and event.op == "t"]
    for event in sorted([*events[-40:], *truncates[-4:]], key=lambda event: (event.partition, event.offset)):
        print(f"  {event}")
    # Where it took its values from.
    for other in {event.old_key for event in events[-40:] if event.old_key}:
        print(f"events of key {other}, which it had before:")
        for event in topics.of(topic, other)[-10:]:
            print(f"  {event}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--converter", choices=["schema", "plain"], default="schema")
    parser.add_argument("--snapshots", choices=["partial", "whole"], default="partial")
    parser.add_argument("--no-metadata", action="store_true", help="without provide.transaction.metadata, its default")
    parser.add_argument("--keep", action="store_true", help="leave the connector, its slot and its database, too")
    parser.add_argument("--no-alter", action="store_true", help="without the column that is added in the end")
    options = parser.parse_args()
    name = f"dbz{int(time.time())}x{options.seed}"
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    print(f"{name}: seed {options.seed}, converter {options.converter}, project in {folder}", flush=True)
    test = Test(name, folder, options)
    # Without a schema part nothing carries a default.
    alters = options.converter == "schema" and not options.no_alter
    stage, holds = "rounds", False
    try:
        test.first_round()
        for number in range(1, options.rounds):
            test.next_round(number)
        history = test.check_history() if options.snapshots == "partial" else "not compared"
        test.project.verify()
        totals = f"{options.rounds} rounds, {test.kills} kills, {test.rows} rows compared"
        totals += f", {test.across} transactions open across {test.snapshots} snapshots; history: {history}"
        print(f"rounds: PostgreSQL and silver are the same, verify finds no fault: {totals}", flush=True)
        if alters:
            stage = "added column"
            print(f"added column: {test.add_column()}")
            test.project.verify()
        holds = True
    except Difference as difference:
        explain(difference, test.topics)
        print(f"VERDICT: differs ({stage}), seed {options.seed}, converter {options.converter}; kept: {folder}")
    finally:
        test.close(options.keep)
    if holds:
        print(f"VERDICT: same, seed {options.seed}, converter {options.converter}")
        if not options.keep:
            forget(name)
            shutil.rmtree(folder)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
