"""The engines, each with one way to be asked: SQL in which `{t}` stands for a table at a version.

Where an engine has tables of its own, they are made by what `lakepulse register` prints.
"""

import os
import pathlib
import tempfile
from urllib.parse import urlsplit

import pyarrow as pa

import rows


def s3_options(endpoint):
    """Keys for clients of object_store."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": os.environ["LAKE_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["LAKE_SECRET_KEY"],
    }


class Engine:
    """What the comparison needs of one."""

    # Whether it reads older versions; whether it reads change feeds.
    travels = True
    feeds = False
    # Whether it has instants to the millisecond only.
    milliseconds = False

    def cannot(self, shape):
        """Whether it has to refuse such a table, since it would read it wrongly."""
        return False

    def ask(self, place, version, sql, schema=None):
        """The answer as an Arrow table. `schema` is that of the answer, where the caller knows it."""
        raise NotImplementedError

    def instant(self, at):
        """A point in time as a literal, if its SQL has one."""
        return f"TIMESTAMP '{at:%Y-%m-%d %H:%M:%S.%f}+00:00'"


class Deltalake(Engine):
    """delta-rs, and DataFusion above it."""

    name = "deltalake"

    def __init__(self, setting):
        self.options = setting.options

    def ask(self, place, version, sql, schema=None):
        from deltalake import DeltaTable, QueryBuilder

        table = DeltaTable(place.location, version=version, storage_options=self.options)
        return pa.table(QueryBuilder().register("t", table).execute(sql.format(t="t")).read_all())


class Polars(Engine):
    name = "polars"

    def __init__(self, setting):
        self.options = setting.options

    def ask(self, place, version, sql, schema=None):
        import polars

        frame = polars.scan_delta(place.location, version=version, storage_options=self.options)
        answer = polars.SQLContext(t=frame).execute(sql.format(t="t"), eager=True)
        return answer.to_arrow(compat_level=polars.CompatLevel.oldest())

    def cannot(self, shape):
        # It looks for a file's vector by a path that is escaped once more, finds none, and shows deleted rows.
        return shape.escaped and shape.vectors

    def instant(self, at):
        # Its SQL has no literal with a time zone.
        return None


class Duckdb(Engine):
    """Its Delta extension, from PyPI: nothing is downloaded when it starts."""

    name = "duckdb"
    travels = False

    def __init__(self, setting):
        import duckdb
        import duckdb_extension_delta
        import duckdb_extension_httpfs

        self.connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        for package in (duckdb_extension_httpfs, duckdb_extension_delta):
            file = next(pathlib.Path(package.__file__).parent.rglob("*.duckdb_extension"))
            self.connection.execute(f"LOAD '{file}'")
        self.connection.execute("SET TimeZone = 'UTC'")
        if setting.endpoint:
            url = urlsplit(setting.endpoint)
            self.connection.execute(
                f"CREATE SECRET lake (TYPE s3, KEY_ID '{os.environ['LAKE_ACCESS_KEY']}', "
                f"SECRET '{os.environ['LAKE_SECRET_KEY']}', ENDPOINT '{url.netloc}', REGION 'us-east-1', "
                f"URL_STYLE 'path', USE_SSL {str(url.scheme == 'https').lower()})"
            )
        for statement in setting.statements("duckdb"):
            self.connection.execute(statement)

    def ask(self, place, version, sql, schema=None):
        schema_name, table = place.table.split(".")
        return self.connection.execute(sql.format(t=f'"{schema_name}"."{table}"')).to_arrow_table()


class Spark(Engine):
    name = "spark"
    feeds = True

    def __init__(self, setting):
        from pyspark.sql import SparkSession

        jars = ",".join(str(jar) for jar in sorted(pathlib.Path(os.environ["LAKEPULSE_SPARK_JARS"]).glob("*.jar")))
        options = {
            "spark.jars": jars,
            "spark.driver.memory": "1200m",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.warehouse.dir": tempfile.mkdtemp(prefix="lakepulse-spark-"),
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.ansi.doubleQuotedIdentifiers": "true",
            "spark.sql.shuffle.partitions": "2",
            "spark.databricks.delta.snapshotPartitions": "2",
            "spark.log.level": "ERROR",
        }
        if setting.endpoint:
            s3a = "spark.hadoop.fs.s3a."
            options |= {
                s3a + "endpoint": setting.endpoint,
                s3a + "endpoint.region": "us-east-1",
                s3a + "path.style.access": "true",
                s3a + "access.key": os.environ["LAKE_ACCESS_KEY"],
                s3a + "secret.key": os.environ["LAKE_SECRET_KEY"],
                s3a + "aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
            }
        builder = SparkSession.builder.master("local[2]").appName("lakepulse")
        for name, value in options.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()
        for statement in setting.statements("spark"):
            self.session.sql(statement)

    def ask(self, place, version, sql, schema=None):
        at = "" if version is None else f" VERSION AS OF {version}"
        return self.session.sql(sql.format(t=place.table + at)).toArrow()

    def feed(self, place, since, upto):
        """What became of rows behind version `since`, and the columns that say so."""
        sql = f"SELECT * FROM table_changes('{place.table}', {since + 1}, {upto})"
        return self.session.sql(sql).toArrow()


class Trino(Engine):
    name = "trino"
    milliseconds = True

    def __init__(self, setting):
        from trino.dbapi import connect

        host, port = setting.trino.split(":")

        def session(user):
            return connect(host=host, port=int(port), user=user, catalog="lake", timezone="UTC")

        # The one that compose/trino/rules.json lets register tables, and one of all others.
        self.registrar, self.reader = session("lakepulse"), session("somebody")
        for statement in setting.statements("trino", "--catalog", "lake_register"):
            self.run(statement, self.registrar)

    def run(self, sql, connection=None):
        cursor = (connection or self.reader).cursor()
        cursor.execute(sql)
        return cursor.fetchall(), [column.name for column in cursor.description or []]

    def ask(self, place, version, sql, schema=None):
        at = "" if version is None else f" FOR VERSION AS OF {version}"
        schema_name, table = place.table.split(".")
        found, names = self.run(sql.format(t=f'"{schema_name}"."{table}"{at}'))
        found = [dict(zip(names, row)) for row in found]
        if schema is None:
            return pa.Table.from_pylist(found)
        # It knows names in lower case only.
        if names != [name.lower() for name in schema.names]:
            raise ValueError(f"columns {names} instead of {schema.names}")
        found = [dict(zip(schema.names, row.values())) for row in found]
        return rows.table(found, schema, rows.from_tuples)

    def instant(self, at):
        return f"TIMESTAMP '{at:%Y-%m-%d %H:%M:%S.%f} UTC'"

    def refuses(self, place):
        """What would write, and went through: nothing may, whoever asks, but registering by who may."""
        schema_name, table = place.table.split(".")
        through = []
        for user, connection in (("somebody", self.reader), ("lakepulse", self.registrar)):
            for catalog in ("lake", "lake_register"):
                name = f'{catalog}."{schema_name}"."{table}"'
                statements = [
                    f"DELETE FROM {name}",
                    f"INSERT INTO {name} SELECT * FROM lake.{schema_name}.{table}",
                    f"CALL {catalog}.system.vacuum('{schema_name}', '{table}', '7d')",
                ]
                if (user, catalog) != ("lakepulse", "lake_register"):
                    # In its own catalog who registers tables may make some, outside of the lake, and forget them.
                    statements += [
                        f'CREATE TABLE {catalog}."{schema_name}".copied AS SELECT 1 AS one',
                        f"ALTER TABLE {name} EXECUTE optimize",
                        f"CALL {catalog}.system.unregister_table('{schema_name}', '{table}')",
                    ]
                for sql in statements:
                    try:
                        self.run(sql, connection)
                        through.append(f"{user}: {sql}")
                    except Exception as error:
                        if "Access Denied" not in str(error):
                            through.append(f"{user}: {sql}: {error}")
        return through

    def refuses_feed(self, place):
        """Its reason not to read a change feed of ours, if it has one."""
        schema_name, table = place.table.split(".")
        try:
            self.run(f"SELECT count(*) FROM TABLE(lake.system.table_changes('{schema_name}', '{table}', 0))")
        except Exception as error:
            return getattr(error, "message", str(error))
        return None


ENGINES = {engine.name: engine for engine in (Deltalake, Polars, Duckdb, Trino, Spark)}
