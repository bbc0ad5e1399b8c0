# SPDX-License-Identifier: Apache-2.0
"""An engine that takes its networks from CNI configurations, in a network namespace of its own."""
import glob
import json
import os
import stat
import textwrap

from harness.clients import Client, caisson_program
from harness.container import inspect
from harness.engine import Engine
from harness.leaks import host_mounts
from harness.netns import NetworkNamespace
from harness.shell import run, wait_for

PLUGINS = "/usr/lib/cni"

# What it is asked goes to a log; what it does is told by its configuration.
RECORDER = """\
    #!/usr/bin/python3
    import json, os, sys, time
    conf = json.load(sys.stdin)
    command = os.environ["CNI_COMMAND"]
    told = {k: os.environ.get(k) for k in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH")}
    with open(conf["log"], "a") as log:
        log.write(json.dumps({"type": conf["type"], "command": command, "env": told, "conf": conf}) + "\\n")
    wait = conf.get("wait", {}).get(command)
    while wait and not os.path.exists(wait):
        time.sleep(0.01)
    answer = conf.get("answers", {}).get(command)
    if answer:
        print(json.dumps(answer) if isinstance(answer, dict) else answer)
        sys.exit(1 if "code" in answer else 0)
    if command == "ADD":
        print(json.dumps(conf.get("prevResult") or conf.get("result") or {"cniVersion": conf["cniVersion"]}))
"""


class Cni:
    """An engine with a configuration directory, in a network namespace that goes with it."""

    def __init__(self, root):
        self.root = root
        self.conf, self.bin, self.state = root + "/net.d", root + "/bin", root + "/leases"
        for path in (self.conf, self.bin, self.state):
            os.makedirs(path)
        self.space = NetworkNamespace("cni" + root[-8:])
        self.engine = Engine(root + "/engine", self.space, "cn0", ["--cni-conf-dir", self.conf, "--cni-bin-dir", f"{self.bin}:{PLUGINS}"],
                             bip="10.210.0.1/24")
        os.makedirs(self.engine.root)
        self.cli = Client("caisson", caisson_program(), self.engine.host, root + "/config")
        os.makedirs(root + "/config")
        self.log = root + "/plugins.log"

    def start(self):
        self.engine.start()
        self.engine.load("busybox")
        return self

    def write(self, name, *plugins, version="1.0.0", file=None, **more):
        path = f"{self.conf}/{file or '10-' + name + '.conflist'}"
        with open(path + ".new", "w", encoding="utf-8") as out:
            json.dump({"cniVersion": version, "name": name, "plugins": list(plugins), **more}, out)
        os.rename(path + ".new", path)

    def bridge(self, name="blue", subnet="10.211.0.0/24", *further, **more):
        """A network of Debian's bridge and host-local plugins."""
        self.write(name, {"type": "bridge", "bridge": "cnib0", "isDefaultGateway": True, "forceAddress": False, "hairpinMode": True,
                          "ipam": {"type": "host-local", "dataDir": self.state, "ranges": [[{"subnet": subnet}]]}, **more}, *further)

    def recorder(self, name, **more):
        """The configuration of a plugin that notes what it is asked."""
        path = f"{self.bin}/{name}"
        if not os.path.exists(path):
            with open(path + ".new", "w", encoding="utf-8") as out:
                out.write(textwrap.dedent(RECORDER))
            os.chmod(path + ".new", stat.S_IRWXU)
            os.rename(path + ".new", path)
        return {"type": name, "log": self.log, **more}

    def asked(self, *commands):
        """What recorders were asked so far, of these commands."""
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="utf-8") as file:
            lines = file.read().split("\n")[:-1]
        return [entry for entry in map(json.loads, lines) if not commands or entry["command"] in commands]

    def leases(self):
        return sorted(os.path.basename(path) for path in glob.glob(self.state + "/*/10.*"))

    def left(self):
        """Everything that an attachment has outside of its container."""
        notes = glob.glob(self.engine.data_root + "/cni/*") + glob.glob(self.engine.exec_root + "/netns/*")
        veths = [link for link in self.space.links() if link.startswith("veth")]
        return notes + veths + self.leases() + host_mounts(self.engine.exec_root + "/netns")

    def nothing_is_left(self):
        wait_for(lambda: not self.left(), f"nothing is left: {self.left()}", 30)

    def sleeper(self, name, *flags, network="blue"):
        return self.cli.out("run", "-d", "--name", name, "--network", network, *flags, "busybox", "sleep", "999")

    def address(self, container, network="blue"):
        return inspect(self.cli, container)["NetworkSettings"]["Networks"][network]["IPAddress"]

    def pings(self, container, target):
        return self.cli("exec", container, "ping", "-c1", "-W5", target, rc=None).rc == 0

    def remove(self):
        self.engine.destroy()
        problems = [f"process {pid}: {line}" for pid, line in self.engine.processes().items()] + host_mounts(self.engine.root)
        self.space.remove()
        run(["rm", "-rf", self.root])
        assert not problems, problems
