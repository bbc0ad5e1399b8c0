# SPDX-License-Identifier: Apache-2.0
"""`logs`, `--log-driver` and `--log-opt` with both clients."""
import json
import re

from harness.container import inspect
from harness.shell import wait_for


def test_log_driver_and_options(cli):
    ident = cli.out("run", "-d", "--log-driver", "json-file", "--log-opt", "max-size=20k", "--log-opt", "max-file=2", "--log-opt", "labels=team",
                    "--label", "team=blue", "busybox", "sh", "-c", "for i in $(seq 1 1000); do echo line $i; done")
    cli("wait", ident)
    shown = inspect(cli, ident)
    assert shown["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {"labels": "team", "max-file": "2", "max-size": "20k"}}
    with open(shown["LogPath"], encoding="utf-8") as file:
        assert json.loads(file.readline())["attrs"] == {"team": "blue"}
    with open(shown["LogPath"] + ".1", encoding="utf-8") as file:
        assert file.readline()
    lines = cli("logs", ident).out.splitlines()
    assert lines[-1] == "line 1000" and 200 < len(lines) < 1000
    assert cli("logs", "--details", "--tail", "1", ident).out == "team=blue line 1000\n"


def test_log_driver_none(cli):
    ident = cli.out("run", "-d", "--log-driver", "none", "busybox", "echo", "x")
    cli("wait", ident)
    assert "configured logging driver does not support reading" in cli("logs", ident, rc=1).err


def test_log_driver_of_later(cli):
    done = cli("run", "--log-driver", "fluentd", "busybox", "true", rc=None)
    assert done.rc in (1, 125) and "logging driver 'fluentd' is not supported by this release" in done.err


def test_log_option_unknown(cli):
    done = cli("run", "--log-opt", "nosuch=1", "busybox", "true", rc=None)
    assert done.rc in (1, 125) and "unknown log opt 'nosuch'" in done.err


def test_info_shows_the_driver(cli):
    assert cli.out("info", "--format", "{{.LoggingDriver}}") == "local"
    assert re.search(r"Logging Driver: local", cli.out("info"))


def test_logs_until(cli):
    ident = cli.out("run", "-d", "busybox", "sh", "-c", "echo early; sleep 0.2; echo late")
    cli("wait", ident)
    stamp = cli.out("logs", "-t", "--tail", "1", ident).split()[0]
    assert cli("logs", "--until", stamp, ident).out == "early\nlate\n"
    assert cli("logs", "--until", stamp[:-1] + "Z", "--since", stamp, ident).out == "late\n"
    first = cli("logs", "-t", ident).out.split()[0]
    assert cli("logs", "--until", first, ident).out == "early\n"


def test_follow_with_tail(cli):
    ident = cli.out("run", "-d", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; done; sleep 1; echo 4")
    wait_for(lambda: cli("logs", ident).out == "1\n2\n3\n", "three lines")
    assert cli("logs", "-f", "--tail", "1", ident, timeout=15).out == "3\n4\n"


def test_clear(caisson):
    ident = caisson.out("run", "-d", "busybox", "echo", "x")
    caisson("wait", ident)
    assert caisson("logs", ident).out == "x\n"
    assert caisson("logs", "--clear", ident).out == ""
    assert caisson("logs", ident).out == ""
    assert "No such container" in caisson("logs", "--clear", "nosuch", rc=1).err
