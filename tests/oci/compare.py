#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the suite with several runtimes and prints what each made of every case:

    tests/oci/compare.py [--all] [--only NAME]... [PYTEST ARGUMENTS]

Rows are shown that are not good everywhere; --all shows every one. A case that no reference passes must say why
(marker reference_lacks): those that do not are listed at the end, and make the exit code 1.
"""
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RUNTIMES = ["runc", "crun", "caisson-oci"]


def outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "FAIL"
    skipped = case.find("skipped")
    if skipped is not None:
        return "lacks" if skipped.get("type") == "pytest.xfail" else "skip"
    return "ok"


def results(runtime, arguments, scratch):
    """{test: outcome} of one runtime."""
    report = f"{scratch}/{runtime}.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", f"--runtime={runtime}", f"--junitxml={report}", "-o", "junit_family=xunit1",
               *(arguments or ["tests/oci"])]
    subprocess.run(command, cwd=TREE, check=False, stdout=subprocess.DEVNULL, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
    worst = {}
    if not os.path.exists(report):
        print(f"pytest gave no report for {runtime}", file=sys.stderr)
        return worst
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{os.path.basename(case.get('file', '?'))}::{case.get('name')}"
        if worst.get(name) != "FAIL":
            worst[name] = outcome(case)
    return worst


def main():
    arguments, every, runtimes = sys.argv[1:], False, []
    if "--all" in arguments:
        arguments.remove("--all")
        every = True
    while "--only" in arguments:
        at = arguments.index("--only")
        runtimes.append(arguments[at + 1])
        del arguments[at:at + 2]
    runtimes = runtimes or RUNTIMES
    with tempfile.TemporaryDirectory(prefix="caisson-compare-") as scratch:
        table = {runtime: results(runtime, arguments, scratch) for runtime in runtimes}
    names = list(dict.fromkeys(name for runtime in runtimes for name in table[runtime]))
    print("".join(f"{r:13}" for r in runtimes) + "case")
    unjustified = []
    for name in names:
        row = [table[r].get(name, "-") for r in runtimes]
        if every or any(o not in ("ok", "skip") for o in row):
            print("".join(f"{o:13}" for o in row) + name)
        references = [table[r].get(name, "-") for r in runtimes if r != "caisson-oci"]
        if len(references) == 2 and references == ["FAIL", "FAIL"]:
            unjustified.append(name)
    for runtime in runtimes:
        values = list(table[runtime].values())
        print(f"{runtime}: " + ", ".join(f"{values.count(o)} {o}" for o in ("ok", "FAIL", "lacks", "skip")))
    if unjustified:
        print("no reference passes, and no reason is given:\n  " + "\n  ".join(unjustified))
    return 1 if unjustified else 0


if __name__ == "__main__":
    sys.exit(main())
