#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the parts of the test suite and prints one closing line over all of them. Called by ./dev test.

Every part yields Outcomes; a part that crashes, or that gives none, is itself a failure, and a part that
cannot run here is a skip with its reason. The outcomes stay in build/test-results.json for the ledger.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join(TREE, "build/test-results.json")
UNIT_BUILD = "build/unit"
JOBS = str(os.cpu_count() or 2)
UNSTEADY_LIMIT = 6  # more failures than that in one run are not chance
PYTEST_PARTS = ["cli", "api", "compat", "fault", "escapes", "oci"]
ALIASES = {"docker": "compat"}


@dataclass
class Outcome:
    name: str
    state: str  # passed, failed, skipped
    detail: str = ""
    again: str = ""  # the command that repeats it


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def shell(argv):
    return " ".join(a if re.fullmatch(r"[\w./:=,@%+-]+", a) else quote(a) for a in argv)


def run(argv, timeout, **options):
    """Combined output and exit code; a time-out is code -1."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False,
                              cwd=TREE, text=True, errors="replace", **options)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        out = error.stdout or b""
        return -1, (out.decode(errors="replace") if isinstance(out, bytes) else out) + f"\ntimed out after {timeout} s"


def tail(text, lines=40):
    return "\n".join(text.rstrip().splitlines()[-lines:])


# --- parts ------------------------------------------------------------------------------------------

def part_layers(name_filter):
    for name, argv in (("check-layers finds every fault of a bad tree", ["--self-test"]), ("the tree obeys its layers", [])):
        if name_filter and name_filter not in name:
            continue
        command = [sys.executable, "tools/check_layers.py", *argv]
        code, out = run(command, 60)
        yield Outcome("layers:" + name, "failed" if code else "passed", tail(out), shell(["tools/check_layers.py", *argv]))


def part_tools(name_filter):
    """Self-tests of the scripts that judge others."""
    command = [sys.executable, "-m", "unittest", "discover", "-s", "tools", "-p", "*_test.py", "-v"]
    if name_filter:
        command += ["-k", name_filter]
    code, out = run(command, 120, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
    for match in re.finditer(r"^(\w+) \((?:[\w.]+)\).*?\.\.\. (ok|FAIL|ERROR|skipped.*)$", out, re.M | re.S):
        state = "passed" if match[2] == "ok" else "skipped" if match[2].startswith("skipped") else "failed"
        yield Outcome("tools:" + match[1], state, "" if state == "passed" else tail(out), shell(["./dev", "test", "tools", "-k", match[1]]))
    if code not in (0, 5) and not re.search(r"\.\.\. (FAIL|ERROR)$", out, re.M):
        yield Outcome("tools:run", "failed", tail(out), shell(command))


def configure_unit_build():
    if os.path.exists(os.path.join(TREE, UNIT_BUILD, "build.ninja")):
        return None
    code, out = run(["cmake", "--preset", "asan", "-B", UNIT_BUILD, "-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=8"], 300)
    return tail(out) if code else None


def build_targets(targets):
    """{target: compiler's words} of those that do not build."""
    code, out = run(["ninja", "-C", UNIT_BUILD, "-j", JOBS, "-k", "0", *targets], 3000)
    if code == 0:
        return {}
    broken = {}
    for target in targets:
        code, out = run(["ninja", "-C", UNIT_BUILD, "-j", JOBS, target], 3000)
        if code:
            broken[target] = "\n".join(l for l in out.splitlines() if "error" in l.lower())[:3000] or tail(out)
    return broken


def private_network(argv):
    """The command in a network namespace of its own with lo up, where we may make one."""
    if os.geteuid() != 0:
        return argv
    return ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "_", *argv]


def doctest_outcomes(folder, xml_path, code, out, again):
    """One Outcome per test case of a doctest program, from its XML report."""
    with open(xml_path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    complete = "</doctest>" in text
    try:
        root = ElementTree.fromstring(text if complete else "<doctest/>")
    except ElementTree.ParseError:
        root, complete = ElementTree.Element("doctest"), False
    failures = 0
    for case in root.iter("TestCase"):
        if case.get("skipped") == "true":
            continue
        title = case.get("name", "?")
        name = f'unit:{folder}/"{title}"'
        overall = case.find("OverallResultsAsserts")
        good = overall is not None and overall.get("test_case_success", "true") == "true" and overall.get("failures") == "0" \
            and case.find(".//Exception") is None
        skipped = next((m for m in (e.text or "" for e in case.iter("Text")) if "SKIPPED:" in m), None)
        if not good:
            failures += 1
            details = []
            for expression in case.iter("Expression"):
                if expression.get("success") == "false":
                    details.append(f"{expression.get('filename')}:{expression.get('line')}: "
                                   + " ".join((expression.findtext(tag) or "").strip() for tag in ("Original", "Expanded")))
            details += [(e.text or "").strip() for e in case.iter("Exception")] + [(e.text or "").strip() for e in case.iter("Text")]
            yield Outcome(name, "failed", "\n".join(details), again(title))
        elif skipped:
            yield Outcome(name, "skipped", skipped.split("SKIPPED:", 1)[1].strip())
        else:
            yield Outcome(name, "passed")
    if not complete:
        started = re.findall(r'<TestCase name="([^"]*)"', text)
        where = f" in or after '{started[-1]}'" if started else ""
        yield Outcome(f"unit:{folder}/run", "failed", f"exit code {code}{where}\n{tail(out)}", again(None))
    elif code and not failures:
        yield Outcome(f"unit:{folder}/run", "failed", f"exit code {code} though all cases passed\n{tail(out)}", again(None))


def part_unit(name_filter):
    problem = configure_unit_build()
    if problem:
        yield Outcome("unit:configure", "failed", problem, f"cmake --preset asan -B {UNIT_BUILD}")
        return
    folders = sorted({os.path.basename(os.path.dirname(p)) for pattern in ("src/*/*_test.cc", "src/cmd/*/*_test.cc")
                      for p in glob.glob(os.path.join(TREE, pattern))})
    broken = build_targets([f"{f}_test" for f in folders])
    ran = 0
    for folder in folders:
        program = f"{UNIT_BUILD}/bin/{folder}_test"
        if f"{folder}_test" in broken:
            yield Outcome(f"unit:{folder}/build", "failed", broken[f"{folder}_test"], f"ninja -C {UNIT_BUILD} {folder}_test")
            continue
        with tempfile.TemporaryDirectory(prefix="caisson-unit-") as scratch:
            report = os.path.join(scratch, "report.xml")
            argv = [program, "-r=xml", "-o=" + report]
            if name_filter:
                argv.append("-tc=*" + name_filter.replace(",", "?") + "*")
            environment = dict(os.environ, TMPDIR=scratch, UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
            code, out = run(private_network(argv), 300, env=environment)

            def again(title, program=program):
                return shell(private_network([program, *(["-tc=" + title.replace(",", "?")] if title else [])]))

            if not os.path.exists(report):
                yield Outcome(f"unit:{folder}/run", "failed", f"exit code {code}\n{tail(out)}", again(None))
                continue
            for outcome in doctest_outcomes(folder, report, code, out, again):
                ran += 1
                yield outcome
    if name_filter and not ran:
        print(f"no unit test is named like '{name_filter}'")


def part_fuzz_smoke(name_filter):
    problem = configure_unit_build()
    if problem:
        yield Outcome("fuzz-smoke:configure", "failed", problem)
        return
    stems = sorted(os.path.basename(p)[:-len("_fuzz.cc")] for p in glob.glob(os.path.join(TREE, "src/*/*_fuzz.cc")))
    stems = [s for s in stems if not name_filter or name_filter in s]
    broken = build_targets([f"{s}_smoke" for s in stems]) if stems else {}
    for stem in stems:
        name = f"fuzz-smoke:{stem}"
        if f"{stem}_smoke" in broken:
            yield Outcome(name, "failed", broken[f"{stem}_smoke"], f"ninja -C {UNIT_BUILD} {stem}_smoke")
            continue
        argv = [f"{UNIT_BUILD}/bin/{stem}_smoke", "2", f"fuzz/{stem}", "20000"]
        code, out = run(argv, 60)
        yield Outcome(name, "failed" if code else "passed", tail(out) if code else "", shell(argv))


def programs_and_images():
    """What the integration tests need; a sentence when it cannot be had."""
    for command, log in ((["./dev", "build"], "build/build-release.log"), (["./dev", "images", "--quiet"], "build/images.log")):
        code, out = run(command, 3600)
        with open(os.path.join(TREE, log), "w", encoding="utf-8") as file:
            file.write(out)
        if code:
            return f"{shell(command)} failed\n{tail(out, 60)}"
    return None


def cannot_integrate():
    if os.geteuid() != 0:
        return "containers need root"
    for tool in ("ip", "nsenter", "unshare"):
        if not shutil.which(tool):
            return f"the program '{tool}' is missing"
    if run(["unshare", "--net", "--mount", "true"], 10)[0]:
        return "this machine does not allow new namespaces"
    return None


def run_pytest(part, selection, name_filter):
    with tempfile.TemporaryDirectory(prefix="caisson-results-") as scratch:
        report = os.path.join(scratch, "results.jsonl")
        argv = [sys.executable, "-m", "pytest", "-qq", "--tb=short", "-rN", "-p", "no:cacheprovider", *selection]
        if name_filter:
            argv += ["-k", name_filter]
        environment = dict(os.environ, CAISSON_TEST_RESULTS=report, PYTHONDONTWRITEBYTECODE="1")
        try:
            code = subprocess.run(argv, stdin=subprocess.DEVNULL, cwd=TREE, env=environment, check=False, timeout=1500).returncode
        except subprocess.TimeoutExpired:
            code = "none: timed out after 1500 s"
        print(flush=True)
        outcomes = []
        if os.path.exists(report):
            with open(report, encoding="utf-8") as file:
                outcomes = [Outcome(**json.loads(line)) for line in file]
        yield from outcomes
        # 5: nothing collected, which -k may well mean.
        fine = code == 0 or (code == 1 and any(o.state == "failed" for o in outcomes)) or (code == 5 and name_filter)
        if not fine or (not outcomes and not name_filter):
            yield Outcome(f"{part}:run", "failed", f"pytest ended with exit code {code} after {len(outcomes)} tests", shell(argv))


def part_guest(name_filter):
    """Containers on a kernel with cgroup v2 alone: each guest runs all its checks, whatever the filter."""
    problem = cannot_integrate()
    if problem:
        yield Outcome("guest:all", "skipped", problem)
        return
    problem = programs_and_images()
    if problem:
        yield Outcome("guest:all", "failed", problem, "./dev test guest")
        return
    run(["./dev", "packages", "guest"], 600)  # without them the guest is a skip, and says so
    yield from guest_outcomes(name_filter, [])
    yield from guest_outcomes(name_filter, ["--systemd"])


def guest_outcomes(name_filter, options):
    argv = ["tests/guest/guest.py", *options]
    code, out = run([sys.executable, *argv], 1500, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))  # a Debian root is made the first time
    states = {"ok": "passed", "not ok": "failed", "skipped": "skipped"}
    found = [Outcome("guest:" + m[2], states[m[1]], m[3] or "", "./dev test guest  # consoles stay in build/guest/console*.log")
             for m in re.finditer(r"^(ok|not ok|skipped) ([\w.-]+)(?:: (.*))?$", out, re.M)]
    yield from (o for o in found if not name_filter or name_filter in o.name or o.name.endswith("finish"))
    if not found or (code and not any(o.state == "failed" for o in found)):
        yield Outcome("guest:run", "failed", f"exit code {code}\n{tail(out)}", " ".join([*argv, "--console"]))


def run_again(failed):
    """Integration tests that failed, each once more and alone, as a slow machine can fail them by chance. One that
    passes now still is a defect, of the test or of the product: it is told as UNSTEADY and never silent."""
    again = [o for o in failed if o.name.startswith("tests/")]
    if not again or len(again) != len(failed) or len(again) > UNSTEADY_LIMIT:
        return
    for outcome in again:
        print(f"== again: {outcome.name}", flush=True)
        second = list(run_pytest("again", [outcome.name], None))
        if second and all(o.state == "passed" for o in second):
            outcome.state = "passed"
            print(f"UNSTEADY {outcome.name}: failed first, passed alone; mend it", flush=True)


# --- all together -----------------------------------------------------------------------------------

def parts_table():
    table = {"layers": part_layers, "tools": part_tools, "unit": part_unit, "fuzz-smoke": part_fuzz_smoke}
    for part in PYTEST_PARTS:
        if os.path.isdir(os.path.join(TREE, "tests", part)):
            table[part] = None
    table["guest"] = part_guest
    return table


def parse_arguments(argv, table):
    parts, nodes, name_filter = [], [], None
    position = 0
    while position < len(argv):
        argument = argv[position]
        if argument == "--list":
            print("\n".join(table))
            sys.exit(0)
        if argument == "-k":
            position += 1
            if position == len(argv):
                sys.exit("dev: -k needs a part of a test's name")
            name_filter = argv[position]
        elif argument.startswith("tests/"):
            nodes.append(argument)
        elif ALIASES.get(argument, argument) in table:
            parts.append(ALIASES.get(argument, argument))
        else:
            sys.exit(f"dev: there is no test part '{argument}'; there are: {' '.join(table)}")
        position += 1
    return parts, nodes, name_filter


def outcomes_of(part, function, name_filter, prepared):
    """The outcomes of one part, however it ends."""
    try:
        if function:
            yield from function(name_filter)
            return
        reason = cannot_integrate()
        if reason:
            yield Outcome(f"{part}:all", "skipped", reason)
            return
        if "problem" not in prepared:
            prepared["problem"] = programs_and_images()
        if prepared["problem"]:
            yield Outcome(f"{part}:all", "failed", prepared["problem"] if not prepared.get("told") else "see the part before", f"./dev test {part}")
            prepared["told"] = True
            return
        yield from run_pytest(part, prepared.get("nodes") or [f"tests/{part}"], name_filter)
    except Exception as error:  # a broken runner must not pass for a green part
        yield Outcome(f"{part}:runner", "failed", f"{type(error).__name__}: {error}", f"./dev test {part}")


def save(results, complete):
    known = {}
    if not complete and os.path.exists(RESULTS):
        with open(RESULTS, encoding="utf-8") as file:
            known = json.load(file)["tests"]
    known.update({o.name: {"state": o.state, **({"detail": o.detail[:300]} if o.state == "skipped" else {})} for o in results})
    os.makedirs(os.path.dirname(RESULTS), exist_ok=True)
    with open(RESULTS + ".tmp", "w", encoding="utf-8") as file:
        json.dump({"tests": known}, file, indent=0, sort_keys=True)
    os.rename(RESULTS + ".tmp", RESULTS)


def main():
    table = parts_table()
    parts, nodes, name_filter = parse_arguments(sys.argv[1:], table)
    prepared = {"nodes": nodes}
    if nodes:
        table, parts = {"selected": None}, ["selected"]
    complete = not parts and not name_filter
    results = []
    for part in parts or table:
        print(f"== {part}", flush=True)
        start = time.monotonic()
        mine = list(outcomes_of(part, table[part], name_filter, prepared))
        if not mine and not name_filter:
            mine = [Outcome(f"{part}:run", "failed", "the part gave no result at all", f"./dev test {part}")]
        for outcome in mine:
            if outcome.state == "failed":
                print(f"FAILED {outcome.name}\n{outcome.detail}\n  again: {outcome.again}")
            elif outcome.state == "skipped":
                print(f"SKIPPED {outcome.name}: {outcome.detail}")
        good = sum(o.state == "passed" for o in mine)
        print(f"{part}: {good} of {len(mine)} good, {time.monotonic() - start:.0f} s", flush=True)
        results += mine
    if complete:
        run_again([o for o in results if o.state == "failed"])
    save(results, complete)
    if complete:
        code, out = run([sys.executable, "tools/ledger.py", "--check"], 60)
        results.append(Outcome("ledger:every test it names exists and ran green", "failed" if code else "passed", "", "tools/ledger.py --check"))
        results += [Outcome(*re.match(r"SKIPPED (.+?): (.+)", line).groups()[:1], "skipped") for line in out.splitlines() if line.startswith("SKIPPED ")]
        print(f"== ledger\n{out.rstrip()}")
    count = {state: sum(o.state == state for o in results) for state in ("passed", "failed", "skipped")}
    failed = [o for o in results if o.state == "failed"]
    if len(failed) > 0:
        print("\nfailed:" + "".join(f"\n  {o.name}\n    again: {o.again}" for o in failed))
    closing = f"{count['passed']} passed, {count['failed']} failed"
    if count["skipped"]:
        closing += f", {count['skipped']} skipped"
    if not results:
        print("no test matched")
    print("\n" + closing)
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
