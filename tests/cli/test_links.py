# SPDX-License-Identifier: Apache-2.0
"""--link on the default bridge: environment, /etc/hosts, names, and what becomes of them when the other one changes."""
import pytest

from harness.container import inspect
from harness.shell import wait_for


def address(cli, name):
    return inspect(cli, name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]


def hosts(cli, name):
    """{address: names} of the lines that the engine wrote."""
    lines = cli.out("exec", name, "cat", "/etc/hosts").splitlines()
    return {line.split("\t")[0]: line.split("\t")[1].split() for line in lines if line[:1].isdigit() and "\t" in line}


@pytest.fixture
def db(cli):
    cli("run", "-d", "--name", "db", "--expose", "5432", "--expose", "80/udp", "-e", "SECRET=x=y", "busybox", "sleep", "999")
    return "db"


def test_link_environment(cli, db):
    where = address(cli, db)
    out = cli.out("run", "--rm", "--name", "web", "--link", "db:my-store", "busybox", "env").splitlines()
    env = dict(line.split("=", 1) for line in out)
    assert env["MY_STORE_NAME"] == "/web/my-store"
    assert env["MY_STORE_PORT"] == f"tcp://{where}:5432" == env["MY_STORE_PORT_5432_TCP"]
    assert env["MY_STORE_PORT_5432_TCP_ADDR"] == where and env["MY_STORE_PORT_5432_TCP_PORT"] == "5432"
    assert env["MY_STORE_PORT_5432_TCP_PROTO"] == "tcp" and env["MY_STORE_PORT_80_UDP"] == f"udp://{where}:80"
    assert env["MY_STORE_ENV_SECRET"] == "x=y" and "MY_STORE_ENV_PATH" not in env
    assert cli.out("run", "--rm", "--link", "db", "-e", "DB_NAME=own", "busybox", "sh", "-c", "echo $DB_NAME $DB_PORT_5432_TCP_PORT") == "own 5432"


def test_link_hosts(cli, db):
    cli("run", "-d", "--name", "web", "--link", "db:store", "busybox", "sleep", "99")
    ident = inspect(cli, db)["Id"][:12]
    assert hosts(cli, "web")[address(cli, db)] == ["store", ident, "db"]
    for name in ("store", "db", ident):
        cli("exec", "web", "ping", "-c1", "-W2", name)
    assert "STORE_NAME=/web/store" in cli.out("exec", "web", "env")


def test_link_names_and_inspect(cli, db, api):
    cli("create", "--name", "web", "--link", "db:store", "busybox")
    assert inspect(cli, "web")["HostConfig"]["Links"] == ["/db:/web/store"]
    assert cli.out("inspect", "-f", "{{.Name}}", "web/store") == "/db"
    names = {c["Id"]: c["Names"] for c in api.ok("GET", "/containers/json")}
    assert names[inspect(cli, "db")["Id"]] == ["/db", "/web/store"]
    assert "db\n" in cli("ps", "--format", "{{.Names}}").out
    assert "db,web/store\n" in cli("ps", "--no-trunc", "--format", "{{.Names}}").out
    cli("rename", "web", "site")
    assert inspect(cli, "site")["HostConfig"]["Links"] == ["/db:/site/store"]


def test_link_follows_a_restart(cli, db):
    cli("run", "-d", "--name", "web", "--link", "db:store", "busybox", "sleep", "99")
    before = address(cli, db)
    cli("stop", "-t", "0", "db")
    cli("run", "-d", "--name", "squatter", "busybox", "sleep", "99")  # has its address, unless addresses go round
    cli("start", "db")
    now = address(cli, db)
    assert now != before and hosts(cli, "web")[now][0] == "store" and before not in hosts(cli, "web")
    cli("exec", "web", "ping", "-c1", "-W2", "store")


def test_link_to_one_that_does_not_run(cli, db):
    cli("create", "--name", "web", "--link", "db:store", "busybox", "true")
    cli("stop", "-t", "0", "db")
    failed = cli("start", "web", rc=1)
    assert "Cannot link to a non running container: /db AS /web/store" in failed.err
    cli("start", "db")
    cli("start", "-a", "web")
    cli("rm", "-f", "db")
    assert "Cannot link to a non running container: /db AS /web/store" in cli("start", "web", rc=1).err
    cli("run", "-d", "--name", "db", "busybox", "sleep", "99")
    cli("start", "-a", "web")


def test_link_to_nobody(cli):
    failed = cli("run", "--link", "nobody:n", "busybox", "true", rc=125)
    assert "could not get container for nobody: No such container: nobody" in failed.err and "Unable to find image" not in failed.err


@pytest.mark.parametrize("link", ["", "a:b:c", "db:", "db:al ias", "db:a\nb"])
def test_link_bad_format(cli, db, link):
    assert cli("create", "--link", link, "busybox", rc=None).rc in (1, 125)


def test_link_conflicts(cli, db):
    cli("run", "-d", "--name", "onhost", "--network", "host", "busybox", "sleep", "99")
    cli("create", "--name", "alone", "--network", "none", "busybox")
    text = "conflicting options: host type networking can't be used with links"
    assert text in cli("create", "--link", "onhost", "busybox", rc=None).err
    assert text in cli("create", "--network", "host", "--link", "db", "busybox", rc=None).err
    assert "container type network can't be used with links" in cli("create", "--network", "container:db", "--link", "db", "busybox", rc=None).err
    assert "Cannot link to /alone, as it does not belong to the default network" in cli("run", "--link", "alone", "busybox", rc=125).err


def test_rm_link(cli, db):
    cli("run", "-d", "--name", "web", "--link", "db:store", "--link", "db:other", "busybox", "sleep", "99")
    cli("rm", "--link", "web/store")
    assert inspect(cli, "web")["HostConfig"]["Links"] == ["/db:/web/other"]
    assert "store" not in cli.out("exec", "web", "cat", "/etc/hosts").replace("other", "")
    assert "No such container" in cli("rm", "--link", "web/store", rc=1).err
    assert "cannot remove the default link name of the container" in cli("rm", "--link", "web", rc=1).err
    assert inspect(cli, "db")["State"]["Running"]
    cli("restart", "-t", "0", "web")
    assert "STORE_NAME" not in cli.out("exec", "web", "env")


def test_link_of_a_circle(cli, db):
    """By names that were given to others meanwhile: each misses the other, nothing hangs."""
    cli("create", "--name", "first", "--link", "db:d", "busybox", "true")
    cli("rm", "-f", "db")
    cli("create", "--name", "db", "--link", "first:f", "busybox", "true")
    assert "Cannot link to a non running container: /db AS /first/d" in cli("start", "first", rc=1).err
    assert "Cannot link to a non running container: /first AS /db/f" in cli("start", "db", rc=1).err
    assert inspect(cli, "first")["HostConfig"]["Links"] == ["/db:/first/d"]


def test_links_survive_the_engine(own_engine, client_of):
    """The one that is linked is started after whom it is linked to, by the same policy."""
    engine = own_engine()
    cli = client_of(engine)
    cli("run", "-d", "--name", "zz-db", "--restart", "always", "busybox", "sleep", "999")
    cli("run", "-d", "--name", "aa-web", "--restart", "always", "--link", "zz-db:store", "busybox", "sleep", "999")
    cli("run", "-d", "--name", "bb-last", "--restart", "always", "--volumes-from", "aa-web", "--pid", "container:aa-web", "busybox", "sleep", "999")
    engine.kill9()
    for pid in engine.processes():
        wait_for_end(pid)
    engine.start()
    running = lambda: all(inspect(cli, name)["State"]["Running"] for name in ("zz-db", "aa-web", "bb-last"))
    wait_for(running, "all three run again", 15)
    assert inspect(cli, "aa-web")["HostConfig"]["Links"] == ["/zz-db:/aa-web/store"]
    assert hosts(cli, "aa-web")[address(cli, "zz-db")][0] == "store"
    cli("restart", "-t", "0", "zz-db")
    assert hosts(cli, "aa-web")[address(cli, "zz-db")][0] == "store"


def wait_for_end(pid):
    import os
    import signal
    try:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"), f"process {pid} ends", 10)
    except ProcessLookupError:
        pass
