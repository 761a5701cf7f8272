"""Rows of any engine as Arrow, in the types that the table's own log says, and a checksum of them."""

import hashlib
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa


def from_json(value, kind):
    """A value of `lakepulse query --format json`."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {field.name: from_json(value.get(field.name), field.type) for field in kind}
    if is_list(kind):
        return [from_json(item, kind.value_type) for item in value]
    if pa.types.is_timestamp(kind):
        return datetime.fromisoformat(value)
    if pa.types.is_date(kind):
        return date.fromisoformat(value)
    if is_binary(kind):
        return bytes.fromhex(value)
    if pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_decimal(kind):
        return Decimal(value).quantize(Decimal(1).scaleb(-kind.scale))
    return value


def from_tuples(value, kind):
    """A value whose structs are tuples, as Trino's client has them."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {field.name: from_tuples(item, field.type) for field, item in zip(kind, value)}
    if is_list(kind):
        return [from_tuples(item, kind.value_type) for item in value]
    return value


def is_list(kind):
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def is_binary(kind):
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def table(rows, schema, read):
    """Rows as dicts of an engine's own values."""
    found = [{field.name: read(row.get(field.name), field.type) for field in schema} for row in rows]
    return pa.Table.from_pylist(found, schema)


def conform(found, schema):
    """The same rows in the types of `schema`. A column more or less is not the same table."""
    if found.column_names != schema.names:
        raise ValueError(f"columns {found.column_names} instead of {schema.names}")
    return found.cast(schema)


def keyed(found, to_milliseconds=False):
    """Each row as one number. Rows that are equal have equal ones."""
    for row in found.to_pylist():
        if to_milliseconds:
            row = rounded(row)
        digest = hashlib.blake2b(repr(row).encode(), digest_size=8).digest()
        yield int.from_bytes(digest, "big")


def checksum(found, to_milliseconds=False):
    """Of all rows, in any order."""
    return sum(keyed(found, to_milliseconds)) % 2**64


def rounded(value):
    """Every instant in it to the nearest millisecond, the later of two."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, datetime):
        micros = value.toordinal() * 86_400_000_000 + (
            (value.hour * 60 + value.minute) * 60 + value.second
        ) * 1_000_000 + value.microsecond
        return ("ms", (micros + 500) // 1000)
    return value
