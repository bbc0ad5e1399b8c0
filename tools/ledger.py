#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The feature ledger, docs/compatibility.md: which feature is shown by which test. Rows of the area `spec` are the fields
of the OCI runtime specification.

    ledger.py            per area: shown, open, out
    ledger.py --check    every named test exists and was green in the last ./dev test; where the list of all
                         features lies beside the tree, no row of it is missing
"""
import json
import os
import re
import sys

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LEDGER = os.path.join(TREE, "docs/compatibility.md")
RESULTS = os.path.join(TREE, "build/test-results.json")
FEATURES = os.environ.get("CAISSON_FEATURES") or os.path.join(os.path.dirname(TREE), "shared/reference/FEATURES.md")
SCHEMAS = os.environ.get("CAISSON_OCI_SCHEMAS") or os.path.join(os.path.dirname(TREE), "shared/spec/oci-runtime")
# Which column of a table names the feature, by the title of its first column.
NAME_COLUMN = {"command": 0, "flag": 0, "tag": 1, "S": 1}


def cells(line):
    """The cells of a table row; \\| is a bar inside a cell."""
    return [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def feature_rows(path):
    """[(area letter, area title, name)] of the list of all features."""
    rows, area, title, column = [], None, None, None
    with open(path, encoding="utf-8") as file:
        for line in file:
            head = re.match(r"## ([A-Z])\. ([^(]+)", line)
            if head:
                area, title, column = head[1], head[2].strip(), None
            elif line.startswith("## "):
                area = None
            elif not line.startswith("|"):
                column = None
            elif area:
                row = cells(line)
                if column is None:
                    column = NAME_COLUMN.get(row[0], -1) if "check" in row[-1] else -1
                elif column >= 0 and not set(row[0]) <= set("-: ") or (column == 1 and row[0] == ""):
                    rows.append((area, title, row[column].replace("`", "")))
    return rows


def schema_fields(folder):
    """Every property of the runtime specification's JSON schemas as a dotted path; those of features and state under their names."""
    files = {}

    def resolve(reference, current):
        name, _, pointer = reference.partition("#")
        name = name or current
        if name not in files:
            path = os.path.join(folder, name)
            files[name] = None
            if os.path.exists(path):  # other platforms' are not kept
                with open(path, encoding="utf-8") as file:
                    files[name] = json.load(file)
        node = files[name]
        for part in pointer.strip("/").split("/") if node is not None and pointer.strip("/") else []:
            node = node[part]
        return node, name

    def walk(node, current, path, out):
        if "$ref" in node:
            target, name = resolve(node["$ref"], current)
            if target is not None:
                walk(target, name, path, out)
        for part in node.get("allOf", []) + node.get("anyOf", []):
            walk(part, current, path, out)
        if isinstance(node.get("items"), dict):
            walk(node["items"], current, path, out)
        if isinstance(node.get("additionalProperties"), dict):
            walk(node["additionalProperties"], current, path + ".*", out)
        for key, value in node.get("properties", {}).items():
            field = f"{path}.{key}" if path else key
            out.setdefault(field)
            walk(value, current, field, out)
    found = {}
    for name, prefix in (("config-schema.json", ""), ("state-schema.json", "state"), ("features-schema.json", "features")):
        walk(resolve(name, name)[0], name, prefix, found)
    return list(found)


def ledger_rows(path=LEDGER):
    """[(line number, area, name, state)] of our own file."""
    rows = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if re.match(r"\| ([A-Z]|spec) \|", line):
                row = cells(line)
                if len(row) != 3:
                    raise ValueError(f"docs/compatibility.md:{number}: a row has three cells: area, name, state")
                rows.append((number, *row))
    return rows


def tests_of(state):
    """The test ids a row names; None for rows that name none."""
    if state == "not yet" or state.startswith("out: "):
        return None
    return [t.strip().strip("`") for t in re.split(r",\s+(?=`?(?:tests/|unit:|layers:|fuzz-smoke:|tools:|guest:))", state)]


def state_of_test(name, results):
    """passed, failed, skipped or missing; a name without [..] stands for all its variants."""
    states = {r["state"] for n, r in results.items() if n == name or n.startswith(name + "[")}
    if not states and name.startswith("guest:"):
        states = {r["state"] for n, r in results.items() if n == "guest:all"}  # a guest that cannot boot gives no names
    for state in ("failed", "passed", "skipped"):
        if state in states:
            return state
    return "missing"


def load_results():
    if not os.path.exists(RESULTS):
        return {}
    with open(RESULTS, encoding="utf-8") as file:
        return json.load(file)["tests"]


def check():
    problems = []
    rows = ledger_rows()
    results = load_results()
    seen = set()
    for number, area, name, state in rows:
        where = f"docs/compatibility.md:{number}: {area} '{name}'"
        if (area, name) in seen:
            problems.append(f"{where} stands there twice")
        seen.add((area, name))
        if area == "spec" and tests_of(state) is None:
            problems.append(f"{where}: a field of the specification needs its test")
        for test in tests_of(state) or ():
            found = state_of_test(test, results)
            if not re.match(r"tests/|unit:|layers:|fuzz-smoke:|tools:|guest:", test):
                problems.append(f"{where}: neither a test, 'not yet' nor 'out: reason': {state}")
            elif found in ("missing", "failed"):
                problems.append(f"{where}: the test {test} is {found}")
    if os.path.exists(FEATURES):
        known = {(area, name) for area, _, name in feature_rows(FEATURES)}
        problems += [f"row {a} '{n}' is missing from docs/compatibility.md" for a, n in sorted(known - seen)]
        problems += [f"row {a} '{n}' of docs/compatibility.md is no known feature" for a, n in sorted(seen - known) if a != "spec"]
    else:
        print("SKIPPED ledger:completeness: the list of all features is not beside the tree")
    if os.path.isdir(SCHEMAS):
        known, mine = set(schema_fields(SCHEMAS)), {name for area, name in seen if area == "spec"}
        problems += [f"the field '{n}' of the runtime specification is missing from docs/compatibility.md" for n in sorted(known - mine)]
        problems += [f"docs/compatibility.md names '{n}', which is no field of the runtime specification" for n in sorted(mine - known)]
    else:
        print("SKIPPED ledger:specification: the schemas of the runtime specification are not beside the tree")
    return problems


def summary():
    titles = {}
    with open(LEDGER, encoding="utf-8") as file:
        for line in file:
            head = re.match(r"## ([A-Z]|spec)\. (.+)", line)
            if head:
                titles[head[1]] = head[2].strip()
    results = load_results()
    table, total = {}, [0, 0, 0]
    for _, area, _, state in ledger_rows():
        tests = tests_of(state)
        kind = 2 if state.startswith("out: ") else 1 if tests is None else 0
        if kind == 0 and results and any(state_of_test(t, results) != "passed" for t in tests):
            kind = 1  # named, but not shown by the last run
        table.setdefault(area, [0, 0, 0])[kind] += 1
        total[kind] += 1
    print(f"{'':42}{'shown':>6}{'open':>6}{'out':>6}")
    for area in sorted(table):
        print(f"{area}. {titles.get(area, ''):39}" + "".join(f"{n:6}" for n in table[area]))
    print(f"{'all':42}" + "".join(f"{n:6}" for n in total))
    if not results:
        print("(no results of ./dev test: rows count as shown when they name a test)")


def main():
    try:
        if sys.argv[1:] == ["--check"]:
            problems = check()
            print("\n".join(problems[:60]) if problems else "every row is as the ledger says")
            return 1 if problems else 0
        summary()
        return 0
    except (OSError, ValueError) as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
