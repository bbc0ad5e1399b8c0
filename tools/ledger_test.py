# SPDX-License-Identifier: Apache-2.0
import json
import os
import tempfile
import unittest
from unittest import mock

import ledger

FEATURE_LIST = """
## A. First area (2 rows)
| command | alias | check → expected |
|---|---|---|
| one | o | a \\| b |
| two |  | x |

## B. Second
| tag | endpoint | check |
|---|---|---|
| T | GET /x | y |

| other | table |
|---|---|
| not | a row |
"""


class LedgerTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.features = os.path.join(self.folder.name, "features.md")
        self.path = os.path.join(self.folder.name, "ledger.md")
        with open(self.features, "w", encoding="utf-8") as file:
            file.write(FEATURE_LIST)

    def tearDown(self):
        self.folder.cleanup()

    def problems(self, rows, results):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("".join(f"| {row} |\n" for row in rows))
        read = ledger.ledger_rows
        with mock.patch.object(ledger, "ledger_rows", lambda: read(self.path)), mock.patch.object(ledger, "load_results", lambda: results), \
                mock.patch.object(ledger, "FEATURES", self.features), mock.patch.object(ledger, "SCHEMAS", self.folder.name + "/schemas"):
            return ledger.check()

    def test_feature_rows(self):
        self.assertEqual([(a, n) for a, _, n in ledger.feature_rows(self.features)], [("A", "one"), ("A", "two"), ("B", "GET /x")])

    def test_green_ledger(self):
        rows = ["A | one | tests/x.py::test_a, tests/x.py::test_b", "A | two | not yet", "B | GET /x | out: a reason"]
        self.assertEqual(self.problems(rows, {"tests/x.py::test_a[1]": {"state": "passed"}, "tests/x.py::test_b": {"state": "passed"}}), [])

    def test_test_that_failed_or_does_not_exist(self):
        rows = ["A | one | tests/x.py::test_a", "A | two | tests/x.py::gone", "B | GET /x | not yet"]
        found = self.problems(rows, {"tests/x.py::test_a[1]": {"state": "passed"}, "tests/x.py::test_a[2]": {"state": "failed"}})
        self.assertEqual(len(found), 2)
        self.assertIn("is failed", found[0])
        self.assertIn("is missing", found[1])

    def test_rows_missing_unknown_or_twice(self):
        found = self.problems(["A | one | not yet", "A | one | not yet", "C | what | not yet"], {})
        self.assertEqual(len(found), 4)

    def schemas(self):
        os.mkdir(self.folder.name + "/schemas")
        for name, content in (("config-schema.json", {"properties": {"a": {"$ref": "defs.json#/definitions/list"}, "other": {"$ref": "config-other.json#/x"}}}),
                              ("defs.json", {"definitions": {"list": {"items": {"allOf": [{"properties": {"b": {}}}]}}}}),
                              ("state-schema.json", {"properties": {"id": {}}}), ("features-schema.json", {"additionalProperties": {"properties": {"c": {}}}})):
            with open(f"{self.folder.name}/schemas/{name}", "w", encoding="utf-8") as file:
                json.dump(content, file)
        return self.folder.name + "/schemas"

    def test_schema_fields(self):
        self.assertEqual(ledger.schema_fields(self.schemas()), ["a", "a.b", "other", "state.id", "features.*.c"])

    def test_fields_of_the_specification(self):
        self.schemas()
        rows = ["A | one | not yet", "A | two | not yet", "B | GET /x | not yet", "spec | a | t", "spec | a.b | not yet", "spec | other | tests/x.py::test_a", "spec | state.id | tests/x.py::test_a",
                "spec | gone | tests/x.py::test_a"]
        found = self.problems(rows, {"tests/x.py::test_a": {"state": "passed"}})
        self.assertEqual(len([f for f in found if "'gone'" in f]), 1)
        self.assertEqual(len([f for f in found if "'features.*.c'" in f]), 1)
        self.assertEqual(len([f for f in found if "needs its test" in f]), 1)

    def test_state_that_is_none(self):
        self.assertEqual(len(self.problems(["A | one | soon", "A | two | not yet", "B | GET /x | not yet"], {})), 1)


if __name__ == "__main__":
    unittest.main()
