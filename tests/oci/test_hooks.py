# SPDX-License-Identifier: Apache-2.0
"""hooks: the six kinds, when and where they run, what they are told, and what their failure does."""
import json
import os

import pytest

from harness.shell import wait_for

KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
BEFORE_START = ["prestart", "createRuntime", "createContainer"]


class Hooks:
    """A script of the host that keeps what every hook was told: notes/KIND.state, .args, .env, .ns."""

    def __init__(self, oci):
        self.oci = oci
        self.notes = oci.dir + "/notes"
        os.makedirs(self.notes)
        os.chmod(self.notes, 0o777)
        self.script = oci.dir + "/hook.sh"
        self.write("true")

    def write(self, tail):
        with open(self.script, "w", encoding="ascii") as file:
            file.write(f"""#!/bin/sh
cat > {self.notes}/$1.state
for a in "$0" "$@"; do echo "$a"; done > {self.notes}/$1.args
env > {self.notes}/$1.env
for n in mnt net pid uts ipc; do readlink /proc/self/ns/$n; done > {self.notes}/$1.ns
pwd > {self.notes}/$1.cwd
echo $1 >> {self.notes}/order
{tail}
""")
        os.chmod(self.script, 0o755)

    def hook(self, kind, *args, **more):
        return {"path": self.script, "args": ["hook", kind, *args], **more}

    def all(self, kinds=tuple(k for k in KINDS if k != "startContainer"), **more):
        return {kind: [self.hook(kind, **more)] for kind in kinds}

    def read(self, name):
        with open(f"{self.notes}/{name}", encoding="utf-8") as file:
            return file.read()

    def state(self, kind):
        return json.loads(self.read(kind + ".state"))

    def order(self):
        return self.read("order").split() if os.path.exists(self.notes + "/order") else []


# The script's notes directory must be seen from inside for hooks that run there.
def inside(hooks):
    return [{"destination": hooks.notes, "type": "bind", "source": hooks.notes, "options": ["bind"]}]


def with_start_container(oci, hooks, extra="", kinds=KINDS):
    """All six; startContainer's program is one of the container's."""
    script = f"cat > {hooks.notes}/startContainer.state; readlink /proc/self/ns/mnt > {hooks.notes}/startContainer.ns; pwd > {hooks.notes}/startContainer.cwd; env > {hooks.notes}/startContainer.env; echo startContainer >> {hooks.notes}/order; {extra}"
    table = hooks.all([k for k in kinds if k != "startContainer"])
    table["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", script]}]
    return table


def test_order(oci):
    hooks = Hooks(oci)
    oci.run(f"echo program >> {hooks.notes}/order", {"hooks": with_start_container(oci, hooks)}, mounts=inside(hooks))
    order = hooks.order()
    assert order[:4] == ["prestart", "createRuntime", "createContainer", "startContainer"] and order[-1] == "poststop", order
    assert sorted(order[4:-1]) == ["poststart", "program"]


def test_order_by_command(oci):
    """create runs those before start; start runs two; delete runs poststop."""
    hooks = Hooks(oci)
    box = oci.create("sleep 99", {"hooks": with_start_container(oci, hooks)}, mounts=inside(hooks))
    assert hooks.order() == ["prestart", "createRuntime", "createContainer"]
    box.start()
    wait_for(lambda: len(hooks.order()) == 5, "start's hooks have run")
    assert sorted(hooks.order()[3:]) == ["poststart", "startContainer"]
    oci("kill", box.id, "KILL")
    box.wait_status("stopped")
    assert "poststop" not in hooks.order()
    box("delete")
    assert hooks.order()[-1] == "poststop"


def test_several_of_a_kind_in_order(oci):
    hooks = Hooks(oci)
    oci.run("true", {"hooks": {"createRuntime": [hooks.hook("a"), hooks.hook("b"), hooks.hook("c")]}})
    assert hooks.order() == ["a", "b", "c"]


@pytest.mark.parametrize("kind, status", [("prestart", {"creating", "created"}), ("createRuntime", {"creating", "created"}), ("createContainer", {"creating", "created"}),
                                          ("startContainer", {"created", "creating", "running"}), ("poststart", {"running"}), ("poststop", {"stopped"})])
def test_state_on_stdin(oci, kind, status):
    hooks = Hooks(oci)
    oci.run("sleep 0.05", {"hooks": with_start_container(oci, hooks), "annotations": {"note": "x"}}, mounts=inside(hooks))
    told = hooks.state(kind)
    assert told["id"] == oci.ids[0] and told["ociVersion"] and told["bundle"] == f"{oci.dir}/{oci.ids[0]}"
    assert told["annotations"]["note"] == "x"
    assert told["status"] in status
    if kind == "poststop":
        assert told.get("pid", 0) == 0
    elif kind != "startContainer":
        assert told["pid"] > 0


@pytest.mark.parametrize("kind, status", [("createRuntime", "creating"), ("poststop", "stopped"), ("poststart", "running")])
def test_state_status_exactly(oci, kind, status):
    """As the specification's life cycle has it."""
    hooks = Hooks(oci)
    oci.run("sleep 0.05", {"hooks": hooks.all([kind])})
    assert hooks.state(kind)["status"] == status


def test_state_pid_is_the_containers(oci):
    """The pid is the host's, so that a hook can enter the namespaces: how networks are set up."""
    hooks = Hooks(oci)
    hooks.write("pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' " + hooks.notes + "/$1.state | tr -d '\\n'); nsenter -t $pid -n sh -c 'sysctl -q -w net.ipv4.ip_forward=1' 2> " + hooks.notes + "/err")
    assert oci.out("cat /proc/sys/net/ipv4/ip_forward", {"hooks": {"createRuntime": [hooks.hook("createRuntime")]}}) == "1"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart", "poststop"])
def test_runs_in_the_namespaces_of_the_runtime(oci, kind):
    hooks = Hooks(oci)
    oci.run("true", {"hooks": hooks.all([kind])})
    assert hooks.read(kind + ".ns").split() == [os.readlink(f"/proc/self/ns/{n}") for n in ("mnt", "net", "pid", "uts", "ipc")]


def test_create_container_runs_in_the_containers_namespaces(oci):
    """With the host's files still in sight, before pivot_root."""
    hooks = Hooks(oci)
    box = oci.create(edits={"hooks": hooks.all(["createContainer"])})
    got = hooks.read("createContainer.ns").split()
    assert got[0] == os.readlink(f"/proc/{box.pid}/ns/mnt") and got[1] == os.readlink(f"/proc/{box.pid}/ns/net")


def test_create_container_sees_the_mounts(oci):
    """The mounts are made by then, below the root file system."""
    hooks = Hooks(oci)
    hooks.write(f"cat /proc/self/mountinfo > {hooks.notes}/mounts")
    oci.run("true", {"hooks": hooks.all(["createContainer"])}, mounts=[{"destination": "/mnt", "type": "tmpfs", "source": "marker"}])
    assert "/rootfs/mnt " in hooks.read("mounts")


def test_start_container_runs_in_the_containers_root(oci):
    hooks = Hooks(oci)
    box = oci.start(edits={"hooks": with_start_container(oci, hooks)}, mounts=inside(hooks))
    assert hooks.read("startContainer.ns").strip() == os.readlink(f"/proc/{box.pid}/ns/mnt")


def test_start_container_program_of_the_host_is_not_found(oci):
    hooks = Hooks(oci)
    box = oci.create("sleep 99", {"hooks": {"startContainer": [{"path": hooks.script}]}}, command="run", flags=["-d"], rc=None)
    assert box.created.rc != 0 or box.status == "stopped" or box.created.err


def test_args_and_env(oci):
    hooks = Hooks(oci)
    oci.run("true", {"hooks": {"createRuntime": [hooks.hook("createRuntime", "a b", "", "*", env=["A=1", "B=x y"])]}}, env={"LEAK": "1"})
    # The script's own name is $0 whatever args[0] is: args[1:] are what it is given.
    assert hooks.read("createRuntime.args").split("\n")[1:5] == ["createRuntime", "a b", "", "*"]
    env = set(hooks.read("createRuntime.env").splitlines())
    assert {"A=1", "B=x y"} <= env and "LEAK=1" not in env


def test_args_missing(oci):
    """args is optional: the path is then all there is."""
    hooks = Hooks(oci)
    with open(hooks.script, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\necho $# > {hooks.notes}/count\n")
    oci.run("true", {"hooks": {"createRuntime": [{"path": hooks.script}]}})
    assert hooks.read("count") == "0\n"


def test_env_missing(oci):
    """Without env a hook has what the runtime decides: ours gives none of the caller's variables."""
    hooks = Hooks(oci)
    oci.run("true", {"hooks": {"createRuntime": [hooks.hook("createRuntime")]}}, env={"LEAK": "1"})
    if oci.ours:
        assert "LEAK=1" not in hooks.read("createRuntime.env").splitlines()


@pytest.mark.parametrize("kind", BEFORE_START)
def test_failure_before_start_ends_the_creation(oci, kind):
    hooks = Hooks(oci)
    hooks.write("echo 'out of paint' >&2; exit 7")
    box = oci.create("sleep 99", {"hooks": hooks.all([kind])}, rc=None)
    oci.refused(box.created, "hook|" + kind, "7")
    oci.refused(oci("state", box.id, rc=None), "does not exist")


@pytest.mark.parametrize("kind", BEFORE_START)
def test_failure_before_start_runs_poststop(oci, kind):
    """The specification's life cycle: what has begun is ended, with poststop."""
    hooks = Hooks(oci)
    hooks.write("[ $1 = poststop ] || exit 7")
    oci.create("sleep 99", {"hooks": hooks.all([kind, "poststop"])}, rc=None)
    if not oci.ours and "poststop" not in hooks.order():
        pytest.xfail("not with this release")
    assert hooks.order() == [kind, "poststop"]


@pytest.mark.parametrize("kind", BEFORE_START)
def test_failure_with_run(oci, kind):
    hooks = Hooks(oci)
    hooks.write("echo 'out of paint' >&2; exit 7")
    done = oci.refused(oci.run(f"touch {hooks.notes}/ran", {"hooks": hooks.all([kind])}, mounts=inside(hooks), rc=None), "hook|" + kind)
    assert not os.path.exists(hooks.notes + "/ran")
    if oci.ours:
        assert "out of paint" in done.err


def test_failure_of_start_container(oci):
    hooks = Hooks(oci)
    table = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 7"]}]}
    box = oci.create(f"touch {hooks.notes}/ran", {"hooks": table}, mounts=inside(hooks))
    done = oci("start", box.id, rc=None)
    if oci.ours:
        oci.refused(done, "hook|startContainer")
    box.wait_status("stopped") if done.rc == 0 else None
    assert not os.path.exists(hooks.notes + "/ran")


@pytest.mark.parametrize("kind", ["poststop"])
def test_failure_after_the_end_is_only_a_warning(oci, kind):
    hooks = Hooks(oci)
    hooks.write("exit 7")
    oci.run("true", {"hooks": {kind: [hooks.hook("one"), hooks.hook("two")]}})
    assert hooks.order() == ["one", "two"]


def test_failure_of_poststart(oci):
    """From 1.3 of the specification on, and with runc always: an error, and the container is ended."""
    hooks = Hooks(oci)
    hooks.write("exit 7")
    box = oci.create("sleep 99", {"hooks": hooks.all(["poststart"])})
    pid = box.pid
    oci.refused(oci("start", box.id, rc=None), "hook|poststart", "7")
    wait_for(lambda: pid not in oci.machine.reap(), "its process has ended")


def test_failure_stops_those_that_follow(oci):
    hooks = Hooks(oci)
    hooks.write("exit 7")
    oci.create("sleep 99", {"hooks": {"createRuntime": [hooks.hook("one"), hooks.hook("two")]}}, rc=None)
    assert hooks.order() == ["one"]


@pytest.mark.parametrize("path, word", [("/no/such/hook", "no such file"), ("/etc/passwd", "permission denied")])
def test_program_that_cannot_be_run(oci, path, word):
    done = oci.run("true", {"hooks": {"createRuntime": [{"path": path}]}}, rc=None)
    oci.refused(done, path, word)


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_timeout(oci, kind):
    hooks = Hooks(oci)
    hooks.write("exec sleep 30")
    done = oci.run("true", {"hooks": {kind: [hooks.hook(kind, timeout=1)]}}, rc=None, timeout=10)
    oci.refused(done, "hook|" + kind, "time|1 s|timed out")


def test_timeout_not_reached(oci):
    hooks = Hooks(oci)
    assert oci.out("echo ok", {"hooks": {"createRuntime": [hooks.hook("createRuntime", timeout=20)]}}) == "ok"


@pytest.mark.parametrize("timeout", [0, -1])
@pytest.mark.reference_lacks("both take 0 or less as no limit")
def test_timeout_bad(oci, timeout):
    """The specification: greater than zero."""
    hooks = Hooks(oci)
    oci.refused(oci.run("true", {"hooks": {"createRuntime": [hooks.hook("x", timeout=timeout)]}}, rc=None), "timeout")


@pytest.mark.parametrize("hook", [{"path": "relative"}, {"path": ""}, {}])
def test_path_must_be_absolute(oci, hook):
    oci.refused(oci.run("true", {"hooks": {"createRuntime": [hook]}}, rc=None), "path|hook")


def test_hooks_that_read_nothing(oci):
    """A hook that closes its input at once must not end the runtime by SIGPIPE."""
    big = {f"key{i}": "x" * 100 for i in range(3000)}
    assert oci.out("echo ok", {"hooks": {"createRuntime": [{"path": "/bin/true"}]}, "annotations": big}) == "ok"


def test_no_descriptors_leak_into_hooks(oci):
    hooks = Hooks(oci)
    hooks.write(f"ls /proc/self/fd > {hooks.notes}/fds")
    oci.run("true", {"hooks": hooks.all(["createRuntime"])})
    assert len(hooks.read("fds").split()) <= 5  # 0, 1, 2, ls's own, and the shell's script


def test_empty_lists(oci):
    assert oci.out("echo ok", {"hooks": {kind: [] for kind in KINDS}}) == "ok"
    assert oci.out("echo ok", {"hooks": {}}) == "ok"
