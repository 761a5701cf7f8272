"""The binary under test, run over one project."""

import json
import subprocess
from decimal import Decimal


def arguments(parser):
    """What says which binary, which project and where it keeps its lake."""
    parser.add_argument("--target", default="embedded")
    parser.add_argument("--endpoint")
    parser.add_argument("--json")
    parser.add_argument("lakepulse")
    parser.add_argument("project")


class Binary:
    """Verbs of `lakepulse`; one that fails ends the program with what it said."""

    def __init__(self, given):
        self.command, self.of = given.lakepulse, ["--project", given.project, "--target", given.target]

    def __call__(self, *words):
        ran = subprocess.run([self.command, *words, *self.of], capture_output=True, text=True)
        if ran.returncode != 0:
            raise SystemExit(f"{' '.join(words)}\n{ran.stderr}")
        return ran.stdout

    def query(self, sql):
        """Rows as dictionaries; a number with a point is a Decimal."""
        lines = self("query", sql, "--format", "json").splitlines()
        return [json.loads(line, parse_float=Decimal) for line in lines]

    def places(self, *select):
        """Every table with where it lies."""
        return json.loads(self("register", "--engine", "duckdb", "--json", *select))
