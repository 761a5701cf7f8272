#!/usr/bin/env python3
"""Folds a gold topic and compares it with the gold table, row by row and value by value.

usage: fold.py --kafka HOST:PORT --registry URL [--endpoint URL] TOPIC TABLE

TABLE is a folder or `s3://bucket/path`; keys for S3 come from LAKE_ACCESS_KEY and LAKE_SECRET_KEY. The
topic is read with confluent-kafka and its Avro deserializer, `read_committed`, from its start to its end;
the last value of a key counts, a tombstone deletes. The table is read with deltalake. Nothing here is
LakePulse's own. Ends with 1 when anything differs.
"""

import argparse
import os
import sys
import uuid
from decimal import Decimal

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, DeserializingConsumer, KafkaError, TopicPartition
from confluent_kafka.error import ConsumeError
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from deltalake import DeltaTable, QueryBuilder

SECONDS = 60


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--endpoint")
    parser.add_argument("topic")
    parser.add_argument("table")
    return parser.parse_args()


def fold(kafka, registry, topic):
    """What the topic says: value by key, and how many records it took."""
    client = SchemaRegistryClient({"url": registry})
    consumer = DeserializingConsumer(
        {
            "bootstrap.servers": kafka,
            "group.id": f"fold-{uuid.uuid4()}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "key.deserializer": AvroDeserializer(client),
            "value.deserializer": AvroDeserializer(client),
        }
    )
    partitions = consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    state, records, unread = {}, 0, set(partitions)
    while unread:
        try:
            message = consumer.poll(SECONDS)
        except ConsumeError as error:
            if error.code != KafkaError._PARTITION_EOF:
                raise
            unread.discard(error.kafka_message.partition())
            continue
        if message is None:
            raise SystemExit(f"{topic}: nothing for {SECONDS} s, partitions {sorted(unread)} have no end")
        records += 1
        key = tuple(sorted(message.key().items()))
        if message.value() is None:
            state.pop(key, None)
        else:
            # The last of a key moves to the end, as in the log.
            state[key] = message.value()
    consumer.close()
    return state, records


def rows(table, endpoint):
    """The rows of the table as it is now, and its version."""
    options = {}
    if endpoint:
        options = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": os.environ["LAKE_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": os.environ["LAKE_SECRET_KEY"],
        }
    delta = DeltaTable(table, storage_options=options)
    found = QueryBuilder().register("t", delta).execute("SELECT * FROM t").read_all()
    return pa.table(found).to_pylist(), delta.version()


def plain(value):
    """A value as both sides write it: times in UTC, decimals without trailing zeros."""
    if isinstance(value, Decimal):
        return value.normalize()
    if hasattr(value, "tzinfo") and value.tzinfo is not None:
        return value.astimezone(None).timestamp()
    return value


def main():
    given = arguments()
    state, records = fold(given.kafka, given.registry, given.topic)
    table, version = rows(given.table, given.endpoint)
    names = [name for name, _ in next(iter(state))] if state else []
    said = {tuple((name, plain(value)) for name, value in key): value for key, value in state.items()}
    held = {tuple((name, plain(row[name])) for name in names): row for row in table}
    if len(held) != len(table):
        print(f"{given.table}@{version}: {len(table)} rows have {len(held)} keys")
        return 1
    faults = [f"not in the table: {key}" for key in said.keys() - held.keys()]
    faults += [f"not on the topic: {key}" for key in held.keys() - said.keys()]
    for key in said.keys() & held.keys():
        for name in held[key].keys() | said[key].keys():
            on_topic, in_table = plain(said[key].get(name)), plain(held[key].get(name))
            if on_topic != in_table or (name in said[key]) != (name in held[key]):
                faults.append(f"{key} {name}: {on_topic!r} on the topic, {in_table!r} in the table")
    for fault in faults[:20]:
        print(fault)
    values = sum(len(row) for row in table)
    verdict = "equal" if not faults else f"{len(faults)} FAULTS"
    print(f"{given.topic}: {records} records fold to {len(said)} keys; table@{version}: {len(table)} rows, "
          f"{values} values: {verdict}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
