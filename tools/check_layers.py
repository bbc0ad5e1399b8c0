#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks of the source tree that need no compiler: layers and cycles (tools/layers.txt), heavy headers,
process creation, file length, SPDX lines, and words that belong to somebody's machine.

    check_layers.py [TREE]        prints one line per finding, exits 1 if there is any
    check_layers.py --self-test   a tree with one of each fault must give each finding
"""
import os
import re
import subprocess
import sys
import tempfile

MAX_LINES = 800
SOURCE = (".cc", ".h", ".c")
SPDX_SUFFIXES = SOURCE + (".py",)
HEAVY = {"filesystem", "iostream", "regex"}  # in no header
HEAVY_PUBLIC = {"thread", "mutex"}  # in no header that other folders include
# The one place that creates processes is src/sys; caisson-init is a program without any library.
MAY_CLONE = ("src/sys/", "src/cmd/caisson-init/")
CLONE = re.compile(r"(?<![\w.>])(?:fork|vfork|clone|clone3|posix_spawnp?)\s*\(")
SHELL = re.compile(r"(?<![\w.>:])(?:system|popen)\s*\(")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Paths of one machine or names of a workplace; spelled so that this file does not match itself.
FOREIGN = re.compile("|".join(["/" + "work/(?:main|shared)", "shared/" + "hooks", "shared/" + "design", "/" + "tmp/brief", "pyenv" + "/shims",
                               "192\\.0\\.2\\.2" + "/24", "10\\.255\\.255" + "\\.53"]))


def tracked_files(tree):
    """Files that are or would be committed; all files where git is of no help."""
    try:
        out = subprocess.run(["git", "-C", tree, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                             capture_output=True, check=True).stdout
        names = [n for n in out.decode().split("\0") if n]
        if names:
            return sorted(n for n in names if os.path.isfile(os.path.join(tree, n)))
    except (OSError, subprocess.CalledProcessError):
        pass
    found = []
    for folder, dirs, files in os.walk(tree):
        dirs[:] = [d for d in dirs if d not in (".git", "build", "__pycache__")]
        found += [os.path.relpath(os.path.join(folder, f), tree) for f in files]
    return sorted(found)


def read_layers(path):
    """{folder: (tier, allowed)}; allowed is None for '*'. Raises ValueError on a line it cannot read."""
    layers = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.split("#")[0].strip()
            if not line:
                continue
            match = re.fullmatch(r"(\w+)\s+(\d+):\s*(.*)", line)
            if not match:
                raise ValueError(f"{path}:{number}: expected 'folder tier: folders'")
            allowed = match[3].split()
            layers[match[1]] = (int(match[2]), None if allowed == ["*"] else set(allowed))
    return layers


def code_without_comments(text):
    """Comments and string contents blanked, line structure kept."""
    def blank(match):
        token = match[0]
        if token.startswith("/"):
            return re.sub(r"[^\n]", " ", token)
        return token[0] + re.sub(r"[^\n]", " ", token[1:-1]) + token[-1]
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check_layer_table(layers):
    for folder, (tier, allowed) in layers.items():
        for other in sorted(allowed or ()):
            if other not in layers:
                yield f"tools/layers.txt: '{folder}' names the unknown folder '{other}'"
            elif layers[other][0] > tier or (layers[other][0] == tier and folder in (layers[other][1] or ())):
                yield f"tools/layers.txt: '{folder}' (tier {tier}) may not use '{other}' (tier {layers[other][0]})"


def find_cycle(edges):
    state, stack = {}, []

    def visit(node):
        state[node] = 1
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if state.get(other) == 1:
                return stack[stack.index(other):] + [other]
            if other not in state:
                cycle = visit(other)
                if cycle:
                    return cycle
        stack.pop()
        state[node] = 2
        return None

    for node in sorted(edges):
        if node not in state:
            cycle = visit(node)
            if cycle:
                return cycle
    return None


def check_public_headers(includes_of, heavy_in):
    """`includes_of`: {file: headers of the tree it includes}. Thread headers reached from another folder."""
    for header, (number, target) in sorted(heavy_in.items()):
        folder = header.split("/")[1]
        seen, todo = set(), [header]
        while todo:
            inner = todo.pop()
            for name, included in includes_of.items():
                if inner.removeprefix("src/") not in included or name in seen:
                    continue
                seen.add(name)
                if name.split("/")[1] != folder:
                    yield f"{header}:{number}: <{target}> does not belong in a header that other folders include ({name})"
                    todo.clear()
                    break
                if name.endswith(".h"):
                    todo.append(name)


def check_source(name, text, layers, edges, includes_of, heavy_in):
    parts = name.split("/")
    folder = parts[1] if parts[0] == "src" and len(parts) > 2 else None
    if folder and folder not in layers:
        yield f"{name}: folder '{folder}' is not in tools/layers.txt"
        folder = None
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        kind, target = match.groups()
        if kind == "<":
            if target in HEAVY and name.endswith(".h"):
                yield f"{name}:{number}: <{target}> does not belong in a header"
            if target in HEAVY_PUBLIC and name.endswith(".h") and folder:
                heavy_in[name] = (number, target)
            continue
        if folder:
            includes_of.setdefault(name, set()).add(target)
        other = target.split("/")[0]
        if not folder or "/" not in target or other == folder or other not in layers:
            continue
        edges.setdefault(folder, set()).add(other)
        allowed = layers[folder][1]
        if allowed is not None and other not in allowed:
            yield f"{name}:{number}: '{folder}' may not include '{target}' (tools/layers.txt)"
    for number, line in enumerate(code_without_comments(text).splitlines(), 1):
        if name.startswith("src/") and not name.startswith(MAY_CLONE) and CLONE.search(line):
            yield f"{name}:{number}: processes are created in src/sys only"
        if name.startswith("src/") and SHELL.search(line):
            yield f"{name}:{number}: system() and popen() are not used"


def check_tree(tree):
    layers = read_layers(os.path.join(tree, "tools/layers.txt"))
    findings = list(check_layer_table(layers))
    edges, includes_of, heavy_in = {}, {}, {}
    for name in tracked_files(tree):
        try:
            with open(os.path.join(tree, name), encoding="utf-8") as file:
                text = file.read()
        except (UnicodeDecodeError, OSError):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if FOREIGN.search(line):
                findings.append(f"{name}:{number}: names a path or word of one machine")
        if name.endswith(SPDX_SUFFIXES) and text.strip():
            if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text.splitlines()[:3]):
                findings.append(f"{name}: no SPDX line at its head")
        if name.endswith(SOURCE):
            lines = text.count("\n")
            if lines > MAX_LINES:
                findings.append(f"{name}: {lines} lines, the limit is {MAX_LINES}")
            findings += check_source(name, text, layers, edges, includes_of, heavy_in)
    findings += check_public_headers(includes_of, heavy_in)
    cycle = find_cycle(edges)
    if cycle:
        findings.append("include cycle between folders: " + " -> ".join(cycle))
    return findings


SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
BAD_TREE = {
    "tools/layers.txt": "base 0:\nsys 1: base\nnet 1: base\nlow 0: sys\n",
    "src/base/up.h": SPDX + '#include "sys/x.h"\n',
    "src/sys/x.h": SPDX + '#include "base/up.h"\n#include <mutex>\n',
    "src/sys/y.h": SPDX + "#include <regex>\n",
    "src/sys/private.h": SPDX + "#include <thread>\n",
    "src/sys/y.cc": SPDX + '#include "sys/private.h"\n',
    "src/net/spawns.cc": SPDX + "int f() { return ::fork(); }\n",
    "src/net/shell.cc": SPDX + 'int f() { return system("ls"); }\n',
    "src/net/long.cc": SPDX + "\n" * (MAX_LINES + 1),
    "src/net/bare.cc": "int x;\n",
    "src/net/machine.cc": SPDX + "// see /" + "work/main\n",
    "src/odd/x.cc": SPDX,
    # None of these may be found: methods, comments and strings that only look like calls.
    "src/net/good.cc": SPDX + '#include "base/y.h"\n#include <mutex>\n// fork() system()\nint a = s.clone(), b = t->fork();\n'
                              'const char* c = "system(1)";\nint filesystem(int);\n',
}
EXPECTED = ["'base' may not include", "x.h:3: <mutex> does not belong", "y.h:2: <regex> does not belong", "spawns.cc:2: processes", "shell.cc:2: system()", "long.cc: 802 lines",
            "bare.cc: no SPDX", "machine.cc:2: names a path", "'odd' is not in", "include cycle", "'low' (tier 0) may not use 'sys'"]


def self_test():
    with tempfile.TemporaryDirectory() as tree:
        for name, text in BAD_TREE.items():
            path = os.path.join(tree, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        findings = check_tree(tree)
    problems = [f"a tree with faults does not give: {e}" for e in EXPECTED if not any(e in f for f in findings)]
    problems += [f"found where nothing is wrong: {f}" for f in findings if "good.cc" in f or "private.h" in f]
    if len(findings) != len(EXPECTED):
        problems.append(f"expected {len(EXPECTED)} findings, got {len(findings)}: {findings}")
    return problems


def main():
    if sys.argv[1:] == ["--self-test"]:
        problems = self_test()
    else:
        problems = check_tree(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
