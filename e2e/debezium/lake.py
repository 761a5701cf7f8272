"""LakePulse's side: a project on target `compose`, runs of the binary, rows of silver."""
from __future__ import annotations

import json
import os
import subprocess
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient
from pyarrow.fs import S3FileSystem

from database import Row

LAKEPULSE = os.environ["LAKEPULSE"]

SETTINGS = """version: 1
name: {name}
commit: {{ interval: 200ms }}
targets:
  compose:
    kafka: {{ bootstrap: "${{env:LAKEPULSE_KAFKA}}" }}
    registry: {{ url: "${{env:LAKEPULSE_REGISTRY}}" }}
    lake:
      url: s3://lake/{name}
      endpoint: "${{env:LAKEPULSE_S3}}"
      access_key: ${{env:LAKE_ACCESS_KEY}}
      secret_key: ${{env:LAKE_SECRET_KEY}}
    topics: {{ partitions: 3, replication: 1 }}
"""
# Table, kind, keys, columns, topic.
MODELS = (
    ("customers", "scd1", "id", "id, name, notes, amount, tags", "customers"),
    ("customer_versions", "scd2", "id", "id, name, notes, amount, tags", "customers"),
    ("orders", "scd1", "shop, id", "shop, id, total, placed, encode(blob, 'hex') AS blob", "orders"),
    ("fence", "scd1", "id", "id, n", "fence"),
)
# What `value: json` without a schema part needs to be told.
FIELDS: dict[str, dict[str, Any]] = {
    "customers": {
        "id": "int",
        "name": "string",
        "notes": "string",
        "amount": {
            "type": "record",
            "name": "VariableScaleDecimal",
            "namespace": "io.debezium.data",
            "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
        },
        "tags": {"type": "array", "items": ["null", "int"]},
    },
    "orders": {
        "shop": "string",
        "id": "int",
        "total": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
        "placed": {"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"},
        "blob": "bytes",
    },
    "fence": {"id": "int", "n": "int"},
}
KEYS = {"customers": "id", "orders": "shop, id", "fence": "id"}


class Project:
    """One project in a folder; its lake, topics and groups have its name."""

    def __init__(self, folder: Path, name: str, converter: str, snapshots: str) -> None:
        self._folder = folder
        self._write("lakepulse.yaml", SETTINGS.format(name=name))
        contract = f"value: json, envelope: debezium, epoch: 1, snapshots: {snapshots}"
        topics = "version: 1\ntopics:\n"
        if converter == "schema":
            topics += f"  {name}.public.*: {{ {contract} }}\n"
        else:
            for table, fields in FIELDS.items():
                self._write(f"schemas/{table}.avsc", json.dumps(envelope(fields)))
                more = f"schema: schemas/{table}.avsc, key: [{KEYS[table]}], table: bronze.public_{table}"
                topics += f"  {name}.public.{table}: {{ {contract}, {more}, partitions: 3 }}\n"
        self._write("topics.yaml", topics)
        self.write_models()

    def write_models(self, extra: bool = False) -> None:
        for table, kind, keys, columns, topic in MODELS:
            more = ", extra" if extra and topic == "customers" else ""
            header = f"/* lakepulse\nkind: {kind}\nkeys: [{keys}]\n*/\n"
            select = f"SELECT {columns}{more} FROM changes(bronze.public_{topic})\n"
            self._write(f"models/silver/{table}.sql", header + select)

    def apply(self) -> None:
        self._run("apply")

    def drain(self) -> None:
        self._run("up", "--plain", "--no-sources", "--until-drained")

    def start_drain(self) -> subprocess.Popen[bytes]:
        """The same, beside what else happens."""
        log = (self._folder / "beside.log").open("a")
        command = self._command("up", "--plain", "--no-sources", "--until-drained")
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def verify(self) -> None:
        self._run("verify")

    def rows(self, select: str) -> list[Row]:
        lines = self._run("query", select, "--format", "json").splitlines()
        return [json.loads(line, parse_float=Decimal) for line in lines if line]

    def _command(self, *args: str) -> list[str]:
        return [LAKEPULSE, *args, "--project", str(self._folder), "--target", "compose"]

    def _run(self, *args: str) -> str:
        begun = time.monotonic()
        ran = subprocess.run(self._command(*args), capture_output=True, text=True, timeout=300)
        with (self._folder / "runs.log").open("a") as log:
            log.write(f"== {args} exits {ran.returncode} after {time.monotonic() - begun:.1f} s\n{ran.stderr}\n")
        if ran.returncode:
            said = f"{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
            raise RuntimeError(f"`lakepulse {' '.join(args)}` exits {ran.returncode}\n{said}")
        return ran.stdout

    def _write(self, path: str, text: str) -> None:
        (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / path).write_text(text)


def forget(name: str) -> None:
    """Deletes a project's lake, and all topics that have its name."""
    keys = {"access_key": os.environ["LAKE_ACCESS_KEY"], "secret_key": os.environ["LAKE_SECRET_KEY"]}
    S3FileSystem(endpoint_override=os.environ["LAKEPULSE_S3"], region="us-east-1", **keys).delete_dir(f"lake/{name}")
    admin = AdminClient({"bootstrap.servers": os.environ["LAKEPULSE_KAFKA"]})
    topics = [topic for topic in admin.list_topics(timeout=30).topics if topic.startswith((f"{name}.", f"{name}-"))]
    for deleted in admin.delete_topics(topics).values():
        deleted.result(30)


def envelope(fields: dict[str, Any]) -> dict[str, Any]:
    """An envelope with rows of these fields, as an Avro schema."""

    def nullable(name: str, kind: Any) -> dict[str, Any]:
        return {"name": name, "type": ["null", kind], "default": None}

    def record(name: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
        return {"type": "record", "name": name, "fields": fields}

    row = record("Value", [nullable(name, kind) for name, kind in fields.items()])
    # `connector` and the like are not read; a field that is not declared is no fault.
    longs = ("ts_ms", "txId", "lsn")
    source = record("Source", [nullable("snapshot", "string"), *(nullable(name, "long") for name in longs)])
    orders = ("total_order", "data_collection_order")
    block = record("block", [nullable("id", "string"), *(nullable(name, "long") for name in orders)])
    return record(
        "Envelope",
        [
            nullable("before", row),
            nullable("after", "Value"),
            nullable("source", source),
            nullable("transaction", block),
            {"name": "op", "type": "string"},
            nullable("ts_ms", "long"),
        ],
    ) | {"namespace": "shop"}
