# SPDX-License-Identifier: Apache-2.0
"""A named network namespace with lo up, in which engines, registries and their bridges live."""
import json
import os
import subprocess

from harness.shell import run


class NetworkNamespace:
    def __init__(self, name):
        self.name = name
        run(["ip", "netns", "add", name])
        try:
            run(self.enter(["ip", "link", "set", "lo", "up"]))
        except BaseException:
            self.remove()
            raise

    def enter(self, argv):
        """The command inside. Only the network changes: `ip netns exec` would hide /sys/fs/cgroup."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *argv]

    def remove(self):
        subprocess.run(["ip", "netns", "delete", self.name], check=False)

    def links(self):
        out = run(self.enter(["ip", "-j", "link"])).out
        return sorted(link["ifname"] for link in json.loads(out or "[]"))

    def rules(self):
        """The nft rule set without handles and counters."""
        out = run(self.enter(["nft", "-j", "list", "ruleset"]), rc=None).out

        def plain(value):
            if isinstance(value, dict):
                return {k: plain(v) for k, v in value.items() if k not in ("handle", "metainfo", "counter", "packets", "bytes")}
            return [plain(v) for v in value] if isinstance(value, list) else value
        entries = json.loads(out)["nftables"] if out.strip() else []
        return sorted(json.dumps(plain(e), sort_keys=True) for e in entries if "metainfo" not in e)

    def fetch(self, url, timeout=5, rc=0):
        """Body of a page fetched from inside the namespace."""
        return run(self.enter(["curl", "-sS", "--fail", "--noproxy", "*", "--max-time", str(timeout), url]), rc=rc,
                   env={**os.environ, "http_proxy": ""}).out
