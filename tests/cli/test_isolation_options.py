# SPDX-License-Identifier: Apache-2.0
"""What a container may be given beside Docker's options: --umask, --personality, --time-offset."""
import os
import platform

import pytest

from harness.container import inspect, pid_of

YEARS = 100_000_000  # seconds


def test_umask(caisson):
    assert caisson.out("run", "--rm", "busybox", "sh", "-c", "umask") == "0022"
    ident = caisson.out("run", "-d", "--umask", "0077", "busybox", "sh", "-c", "touch /made; sleep 99")
    assert caisson.out("exec", ident, "sh", "-c", "umask; touch /other; stat -c %a /other") == "0077\n600"
    with open(f"/proc/{pid_of(caisson, ident)}/status", encoding="utf-8") as file:
        assert "Umask:\t0077\n" in file.read()
    assert inspect(caisson, ident)["HostConfig"]["Umask"] == "0077"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the names of other machines differ")
def test_personality(caisson):
    assert caisson.out("run", "--rm", "busybox", "uname", "-m") == "x86_64"
    ident = caisson.out("run", "-d", "--personality", "linux32", "busybox", "sleep", "99")
    with open(f"/proc/{pid_of(caisson, ident)}/personality", encoding="ascii") as file:
        assert file.read().strip() == "00000008"
    assert caisson.out("exec", ident, "uname", "-m") == "i686"
    assert caisson.out("run", "--rm", "--personality", "LINUX", "busybox", "uname", "-m") == "x86_64"


def uptime():
    with open("/proc/uptime", encoding="ascii") as file:
        return float(file.read().split()[0])


def test_time_offset(caisson):
    own = os.readlink("/proc/self/ns/time")
    plain = caisson.out("run", "-d", "busybox", "sleep", "99")
    assert os.readlink(f"/proc/{pid_of(caisson, plain)}/ns/time") == own
    ident = caisson.out("run", "-d", "--time-offset", f"boottime={YEARS}", "--time-offset", "monotonic=50", "busybox", "sh", "-c", "cat /proc/uptime; exec sleep 99")
    assert os.readlink(f"/proc/{pid_of(caisson, ident)}/ns/time") != own
    for line in (("exec", ident, "cat", "/proc/uptime"), ("run", "--rm", "--time-offset", f"boottime={YEARS}", "busybox", "cat", "/proc/uptime")):
        before = uptime()
        seen = float(caisson.out(*line).split()[0])
        assert before + YEARS - 1 <= seen <= uptime() + YEARS + 1
    assert caisson.out("exec", ident, "cat", "/proc/self/timens_offsets").split() == ["monotonic", "50", "0", "boottime", str(YEARS), "0"]
    caisson("restart", "-t", "0", ident)
    assert caisson.out("exec", ident, "cat", "/proc/self/timens_offsets").split()[4] == str(YEARS)


@pytest.mark.parametrize("flag, value, member, body, text", [
    ("--umask", "0888", "Umask", "0888", "invalid umask '0888': must be octal, from 0 to 0777"),
    ("--personality", "BSD", "Personality", "BSD", "invalid personality 'BSD': must be 'LINUX' or 'LINUX32'"),
    ("--time-offset", "realtime=1", "TimeOffsets", {"realtime": "1"}, "invalid time offset: unknown clock 'realtime'"),
    ("--time-offset", "boottime=soon", "TimeOffsets", {"boottime": "soon"}, "invalid time offset of 'boottime': 'soon' is no number of seconds"),
])
def test_bad_values(caisson, api, flag, value, member, body, text):
    assert text in caisson("run", flag, value, "busybox", "true", rc=125).err
    answer = api.post("/containers/create", {"Image": "busybox", "HostConfig": {member: body}})
    assert answer.status == 400 and text in answer.message


def test_time_before_the_clocks_began(caisson):
    """The kernel says no when the container starts, and says which file it was."""
    done = caisson("run", "--rm", "--time-offset", "boottime=-4000000000", "busybox", "true", rc=None)
    assert done.rc != 0 and "timens_offsets" in done.err + done.out, done
