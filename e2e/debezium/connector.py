"""Debezium's side: the connector, its death, its signals, and what it put on its topics."""
from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from database import STACK, Session

CONNECT = f"http://127.0.0.1:{os.environ['LAKEPULSE_STACK_CONNECT_PORT']}/connectors"
CONNECT_PID = Path(os.environ["LAKEPULSE_STACK_DIR"], "run/connect.pid")


def connector_settings(name: str, converter: str, metadata: bool) -> dict[str, str]:
    json_converter = "org.apache.kafka.connect.json.JsonConverter"
    schemas = str(converter == "schema").lower()
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "plugin.name": "pgoutput",
        "database.hostname": "127.0.0.1",
        "database.port": os.environ["LAKEPULSE_STACK_POSTGRES_PORT"],
        "database.user": "postgres",
        "database.password": os.environ["POSTGRES_PASSWORD"],
        "database.dbname": name,
        "slot.name": name,
        "slot.retry.delay.ms": "500",
        "publication.name": name,
        "publication.autocreate.mode": "disabled",
        "topic.prefix": name,
        "table.include.list": "public.customers,public.orders,public.fence",
        "signal.data.collection": "public.signals",
        "notification.enabled.channels": "sink",
        "notification.sink.topic.name": f"{name}.notifications",
        "topic.creation.default.replication.factor": "1",
        "topic.creation.default.partitions": "3",
        "provide.transaction.metadata": str(metadata).lower(),
        "skipped.operations": "none",
        "incremental.snapshot.chunk.size": "7",
        "poll.interval.ms": "50",
        "key.converter": json_converter,
        "key.converter.schemas.enable": schemas,
        "value.converter": json_converter,
        "value.converter.schemas.enable": schemas,
        # A null stays null.
        "value.converter.replace.null.with.default": "false",
    }


class Unreachable(Exception):
    """Nobody answers at Connect's address."""


class Connector:
    """The connector. Connect on one machine forgets it when it ends, and knows its offsets only."""

    def __init__(self, name: str, converter: str, metadata: bool) -> None:
        self.name = name
        self._settings = connector_settings(name, converter, metadata)
        self._starting: subprocess.Popen[str] | None = None
        self._failures = 0

    def running(self) -> bool:
        """Whether it runs. Starts what is missing, Connect too: another run of this test may have killed it."""
        if self._starting:
            if self._starting.poll() is None:
                return False
            said = self._starting.communicate()[0]
            # Another run may start it, or kill it, at this moment.
            self._failures = self._failures + 1 if self._starting.returncode else 0
            if self._failures == 10:
                raise RuntimeError(f"Connect does not start: {said}")
            self._starting = None
        try:
            status = self._ask("GET", "/status")
            if status is None:
                self._ask("PUT", "/config", self._settings)
                return False
        except Unreachable:
            pipe = subprocess.PIPE
            command = [str(STACK), "up", "connect"]
            self._starting = subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True)
            return False
        parts = [status["connector"], *status["tasks"]]
        for part in parts:
            if part["state"] == "FAILED":
                raise RuntimeError(f"the connector has failed: {part.get('trace')}")
        return len(parts) > 1 and all(part["state"] == "RUNNING" for part in parts)

    def kill(self) -> None:
        """Kills Connect with `kill -9`, and waits until it is gone."""
        if self._starting:
            self._starting.wait()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pid = int(CONNECT_PID.read_text().split()[0])
            os.kill(pid, signal.SIGKILL)
            while "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
                time.sleep(0.02)

    def delete(self) -> None:
        if self._starting:
            self._starting.wait()
        with contextlib.suppress(Unreachable):
            self._ask("DELETE", "")

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        """The answer; None where there is no such connector."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{CONNECT}/{self.name}{path}", data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise RuntimeError(f"{method} {path}: {error.read()[:2000]!r}") from error
        except (urllib.error.URLError, ConnectionError, http.client.HTTPException) as error:
            raise Unreachable from error
        return json.loads(text) if text else None


def send_signal(session: Session, id: str, kind: str, data: dict[str, Any]) -> None:
    session.run(f"INSERT INTO signals VALUES ('{id}', '{kind}', '{json.dumps(data)}')")


@dataclass(frozen=True)
class Event:
    """A record of a topic of changes."""

    table: str
    partition: int
    offset: int
    key: str
    op: str
    lsn: int | None
    transaction: int | None
    order: int | None
    snapshot: str
    at: int | None
    row: dict[str, Any]
    # Where a change of key is two records: the key of the first, in the second, and the other way round.
    old_key: str
    new_key: str

    def identity(self) -> tuple[Any, ...] | None:
        """Equal where the connector said the same change twice."""
        if self.lsn is None or self.op == "r":
            return None
        return (self.table, self.key, self.op, self.lsn, self.transaction, self.order)

    def __str__(self) -> str:
        other = f" was {self.old_key}" * bool(self.old_key) + f" becomes {self.new_key}" * bool(self.new_key)
        row = " ".join(f"{name}={short(value)}" for name, value in self.row.items())
        return (
            f"{self.partition}@{self.offset:<6} {self.op} lsn {self.lsn} tx {self.transaction} "
            f"order {self.order} snapshot {self.snapshot}{other}  {row}"
        )


def short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 48 else f"{text[:40]}…({len(text)})"


class Topics:
    """Follows all topics of the connector from their beginnings."""

    def __init__(self, name: str) -> None:
        self._prefix = f"{name}."
        self._consumer = Consumer(
            {
                "bootstrap.servers": os.environ["LAKEPULSE_KAFKA"],
                "group.id": f"{name}-test",
                "enable.auto.commit": False,
                "topic.metadata.refresh.interval.ms": 500,
            }
        )
        self._assigned: set[tuple[str, int]] = set()
        self._looked = 0.0
        self.events: list[Event] = []
        self.notifications: list[dict[str, Any]] = []

    def poll(self, seconds: float = 0.0) -> None:
        """Takes what is there."""
        self._assign()
        while messages := self._consumer.consume(1000, seconds):
            for message in messages:
                if message.error() is None:
                    self._take(message)
            seconds = 0.0

    def fence(self) -> Event | None:
        """The newest change of the fence."""
        changes = (event for event in self.events if event.table == "fence" and event.op == "u")
        return max(changes, key=lambda event: event.row["n"], default=None)

    def of(self, table: str, key: str) -> list[Event]:
        found = [event for event in self.events if event.table == table and event.key == key]
        return sorted(found, key=lambda event: (event.partition, event.offset))

    def repeats(self) -> int:
        """How many changes came again."""
        counts = Counter(identity for event in self.events if (identity := event.identity()))
        return sum(count - 1 for count in counts.values())

    def close(self) -> None:
        self._consumer.close()

    def _assign(self) -> None:
        if time.monotonic() < self._looked + 0.3:
            return
        self._looked = time.monotonic()
        found = {
            (topic, partition)
            for topic, about in self._consumer.list_topics(timeout=10).topics.items()
            if topic.startswith((f"{self._prefix}public.", f"{self._prefix}notifications"))
            for partition in about.partitions
        }
        if new := found - self._assigned:
            self._assigned |= new
            self._consumer.incremental_assign([TopicPartition(topic, partition, 0) for topic, partition in new])

    def _take(self, message: Any) -> None:
        topic = message.topic()
        value = payload(message.value())
        if topic.endswith(".notifications"):
            self.notifications.append(value)
            return
        headers = dict(message.headers() or [])
        old_key, new_key = (headers.get(f"__debezium.{name}") for name in ("oldkey", "newkey"))
        source = (value or {}).get("source") or {}
        block = (value or {}).get("transaction") or {}
        self.events.append(
            Event(
                table=topic.rsplit(".", 1)[1],
                partition=message.partition(),
                offset=message.offset(),
                key=key_text(payload(message.key())),
                op=value["op"] if value else "tombstone",
                lsn=source.get("lsn"),
                transaction=source.get("txId"),
                order=block.get("total_order"),
                snapshot=source.get("snapshot") or "-",
                at=source.get("ts_ms"),
                row=((value or {}).get("after") or {}),
                old_key=key_text(payload(old_key)) if old_key else "",
                new_key=key_text(payload(new_key)) if new_key else "",
            )
        )


def payload(text: bytes | None) -> Any:
    """What a converter wrote, without its schema part."""
    value = json.loads(text) if text else None
    return value["payload"] if isinstance(value, dict) and set(value) == {"schema", "payload"} else value


def key_text(key: Any) -> str:
    """A key as the comparison names it."""
    return "|".join(str(part) for part in key.values()) if isinstance(key, dict) else str(key)
