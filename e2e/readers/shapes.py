"""What is particular about a table, as its log says: what a reader has to get right."""

import dataclasses
import json
import os
from urllib.parse import urlsplit

import pyarrow.fs as fs


@dataclasses.dataclass
class Shape:
    version: int = 0
    vectors: bool = False
    evolved: bool = False
    compacted: bool = False
    checkpoint: bool = False
    partitioned: bool = False
    copied: bool = False
    feed: bool = False
    escaped: bool = False

    WORDS = (
        ("v", "vectors"),
        ("e", "evolved"),
        ("o", "compacted"),
        ("c", "checkpoint"),
        ("p", "partitioned"),
        ("w", "copied"),
        ("f", "feed"),
        ("s", "escaped"),
    )

    @classmethod
    def of(cls, setting, place):
        store, path = files(setting, place)
        shape, columns, copies, marks = cls(), set(), False, False
        found = store.get_file_info(fs.FileSelector(f"{path}/_delta_log"))
        entries = sorted(file.path for file in found if file.path.endswith(".json") and file.base_name[:20].isdigit())
        shape.version = int(entries[-1].rsplit("/", 1)[1][:20])
        shape.checkpoint = any(".checkpoint." in file.base_name for file in found)
        for entry in entries:
            with store.open_input_stream(entry) as file:
                lines = [json.loads(line) for line in file.read().splitlines()]
            added = [line["add"] for line in lines if "add" in line]
            removed = [line["remove"] for line in lines if "remove" in line]
            compaction = any(line.get("commitInfo", {}).get("operation") == "OPTIMIZE" for line in lines)
            shape.compacted |= compaction
            shape.escaped |= any("%" in add["path"] for add in added)
            shape.vectors |= any(add.get("deletionVector") for add in added)
            copies |= bool(removed and added and not compaction)
            for meta in (line["metaData"] for line in lines if "metaData" in line):
                columns.add(meta["schemaString"])
                shape.partitioned |= bool(meta["partitionColumns"])
                shape.feed |= meta["configuration"].get("delta.enableChangeDataFeed") == "true"
                marks |= meta["configuration"].get("delta.enableDeletionVectors") == "true"
        shape.evolved = len(columns) > 1
        shape.copied = copies and not marks
        return shape

    def words(self):
        return [word for _, word in self.WORDS if getattr(self, word)]

    def letters(self):
        return "".join(letter if getattr(self, word) else "-" for letter, word in self.WORDS)


def files(setting, place):
    """A file system and the table's path in it."""
    url = urlsplit(place.location)
    if not setting.endpoint:
        return fs.LocalFileSystem(), url.path
    endpoint = urlsplit(setting.endpoint)
    store = fs.S3FileSystem(
        access_key=os.environ["LAKE_ACCESS_KEY"],
        secret_key=os.environ["LAKE_SECRET_KEY"],
        endpoint_override=endpoint.netloc,
        scheme=endpoint.scheme,
        region="us-east-1",
    )
    return store, url.netloc + url.path
