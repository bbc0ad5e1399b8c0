# SPDX-License-Identifier: Apache-2.0
"""What config.json of the client says about commands, the same for both clients; and completion in a shell."""
import json
import os
import subprocess

import pytest

from harness.clients import make_client_by_name
from harness.shell import BIN, run, wait_for


def configure(client, **members):
    with open(client.env["DOCKER_CONFIG"] + "/config.json", "w", encoding="ascii") as file:
        json.dump(members, file)


def test_formats_of_lists(cli):
    cli("create", "--name", "listed", "busybox")
    configure(cli, psFormat="<{{.Names}}>", imagesFormat="[{{.Repository}}]", networksFormat="({{.Name}})", volumesFormat="{{.Name}}!",
              statsFormat="table {{.Name}}")
    assert cli.out("ps", "-a") == "<listed>"
    assert cli.out("ps", "-a", "--format", "{{.Image}}") == "busybox"
    assert cli.out("ps", "-aq") == cli.out("ps", "-a", "--format", "{{.ID}}")
    assert "[busybox]" in cli.out("images").splitlines()
    assert "(host)" in cli.out("network", "ls").splitlines()
    cli("volume", "create", "listed")
    assert "listed!" in cli.out("volume", "ls").splitlines()
    cli("volume", "rm", "listed")
    assert cli.out("stats", "--no-stream", "listed").splitlines() == ["NAME", "listed"]
    cli("rm", "listed")


LISTS = ["ps -a", "images", "network ls", "volume ls", "system df", "context ls", "stats --no-stream -a", "history busybox"]


@pytest.mark.parametrize("command", LISTS)
def test_lists_as_json_lines_and_tables(cli, command):
    cli("run", "-d", "--name", "shown", "-v", "shownvol:/v", "busybox", "sleep", "600")
    words = command.split()
    rows = [json.loads(line) for line in cli.out(*words, "--format", "json").splitlines()]
    assert rows and all(isinstance(row, dict) for row in rows)
    field = [name for name in rows[0] if all(isinstance(row.get(name), str) and row[name] and name.isascii() for row in rows)][0]
    table = cli.out(*words, "--format", "table {{." + field + "}}").splitlines()
    assert len(table) == len(rows) + 1 and table[0] == table[0].upper()
    assert len(cli.out(*words, "--format", "{{." + field + "}}x").splitlines()) == len(rows)
    cli("rm", "-f", "shown")
    cli("volume", "rm", "shownvol")


def test_proxies_of_the_configuration(cli):
    configure(cli, proxies={"default": {"httpProxy": "http://p:1", "noProxy": "local", "allProxy": "x"}})
    env = cli.out("run", "--rm", "-e", "HTTP_PROXY=own", "busybox", "env").splitlines()
    assert {"HTTP_PROXY=own", "http_proxy=http://p:1", "NO_PROXY=local", "no_proxy=local", "ALL_PROXY=x", "all_proxy=x"} <= set(env)
    assert not [line for line in env if line.lower().startswith("https_proxy")]
    configure(cli, proxies={"default": {"httpProxy": "http://p:1"}, cli.host: {"httpsProxy": "http://mine:2"}})
    env = cli.out("run", "--rm", "busybox", "env").splitlines()
    assert "HTTPS_PROXY=http://mine:2" in env and not [line for line in env if "p:1" in line]


def test_detach_keys_of_the_configuration(cli):
    configure(cli, detachKeys="ctrl-a,d")
    cli("run", "-dit", "--name", "keyed", "busybox", "sh")
    with cli.terminal("attach", "keyed") as terminal:
        terminal.type("echo he''re\n")
        terminal.expect("here")
        terminal.type("\x01d")
        terminal.wait()
    assert cli.out("inspect", "-f", "{{.State.Running}}", "keyed") == "true"
    cli("rm", "-f", "keyed")


def test_headers_of_the_configuration(tmp_path):
    """Sent with each request; what the request itself needs is not replaced."""
    client = make_client_by_name("caisson", f"unix://{tmp_path}/s.sock", tmp_path)
    configure(client, HttpHeaders={"X-Mine": "yes", "Content-Type": "odd", "Content-Length": "7"})
    server = subprocess.Popen(["/usr/bin/python3", "-c", f"""
import socket
s = socket.socket(socket.AF_UNIX); s.bind("{tmp_path}/s.sock"); s.listen()
c = s.accept()[0]; data = b""
while b"\\r\\n\\r\\n" not in data: data += c.recv(4096)
print(data.decode()); c.sendall(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
"""], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: os.path.exists(f"{tmp_path}/s.sock"), "the server listens")
    wait_for(lambda: client("rename", "aa", "bb", rc=None).rc == 0, "the server answers")
    head = server.communicate(timeout=20)[0].lower()
    assert "x-mine: yes\n" in head and "content-length: 7" not in head


# --- completion ---

def complete(client, line):
    """What bash would offer at the end of the line."""
    script = f"""source <({BIN}/caisson completion bash); caisson() {{ {BIN}/caisson "$@"; }}
COMP_LINE=$1; COMP_POINT=${{#COMP_LINE}}; shift; COMP_WORDS=("$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); compopt() {{ echo compopt "$@"; }}; _caisson; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    words = [piece for word in line.split(" ") for piece in split_as_bash(word)]
    return run(["bash", "-c", script, "bash", line, *words], client.env).out.split("\n")[:-1]


def split_as_bash(word):
    """COMP_WORDBREAKS has "=" and ":"."""
    pieces, piece = [], ""
    for char in word:
        if char in "=:":
            pieces += [piece] * bool(piece) + [char]
            piece = ""
        else:
            piece += char
    return [*pieces, piece] if piece or not pieces else pieces


def test_completion(caisson):
    caisson("create", "--name", "completed", "busybox")
    assert complete(caisson, "caisson rena") == ["rename"]
    assert complete(caisson, "caisson network c") == ["connect", "create"]
    assert "--memory-swap" in complete(caisson, "caisson run --memo") and "run" in complete(caisson, "caisson ")
    assert complete(caisson, "caisson --hos") == ["--host"]
    assert complete(caisson, "caisson inspect compl") == ["completed"]
    assert complete(caisson, "caisson rm -f compl") == ["completed"] and complete(caisson, "caisson logs --tail 3 compl") == ["completed"]
    assert "bridge" in complete(caisson, "caisson network connect bri") and complete(caisson, "caisson network connect bridge com") == ["completed"]
    assert "bridge" in complete(caisson, "caisson run --network bri")
    assert complete(caisson, "caisson rmi busybox:la") == ["latest"]
    assert complete(caisson, "caisson load -i ")[0] == "compopt -o default"
    assert complete(caisson, "caisson nosuch x") == [""]
    caisson("rm", "completed")


def test_completion_without_an_engine(tmp_path):
    client = make_client_by_name("caisson", "unix:///nonexistent.sock", tmp_path)
    client("context", "create", "farcontext", "--docker", "host=tcp://h:1")
    assert complete(client, "caisson context use farc") == ["farcontext"]
    assert complete(client, "caisson rm x") == [""]
    assert "there is completion for bash, not for 'zsh'" in client("completion", "zsh", rc=1).err
    run(["bash", "-n"], stdin=client("completion", "bash").out)
    assert "__complete" not in client("--help").out
