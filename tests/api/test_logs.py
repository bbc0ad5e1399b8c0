# SPDX-License-Identifier: Apache-2.0
"""Log drivers, their options and their files, and the routes that read, follow, clear and attach with logs."""
import glob
import json
import os
import re
import socket
import threading
import time
import urllib.parse

import pytest

from harness.api import frames, read_until_closed, stream
from harness.shell import wait_for
from harness.sinks import inet_sink, journal_fields, unix_sink

UNREADABLE = "configured logging driver does not support reading"


def create(api, *command, driver=None, opts=None, name="", **config):
    host = config.pop("HostConfig", {})
    if driver is not None or opts is not None:
        host["LogConfig"] = {"Type": driver or "", "Config": opts or {}}
    query = f"?name={name}" if name else ""
    return api.post("/containers/create" + query, {"Image": "busybox", "Cmd": list(command), "HostConfig": host, **config})


def run(api, *command, **options):
    answer = create(api, *command, **options)
    assert answer.status == 201, answer
    ident = answer.json["Id"]
    started = api.post(f"/containers/{ident}/start")
    assert started.status == 204, started
    return ident


def wait(api, ident):
    return api.ok("POST", f"/containers/{ident}/wait", timeout=60)["StatusCode"]


def ran(api, *command, **options):
    ident = run(api, *command, **options)
    wait(api, ident)
    return ident


def logs(api, ident, query="stdout=1&stderr=1", **options):
    answer = api.get(f"/containers/{ident}/logs?{query}", **options)
    assert answer.status == 200, answer
    return b"".join(data for _, data in frames(answer.body)).decode()


def folder(engine, ident):
    return f"{engine.data_root}/containers/{ident}"


# --- drivers ------------------------------------------------------------------------------------------

def test_default_driver_is_local(api, engine):
    ident = ran(api, "sh", "-c", "echo out; echo err >&2")
    shown = api.ok("GET", f"/containers/{ident}/json")
    assert shown["HostConfig"]["LogConfig"] == {"Type": "local", "Config": {}} and shown["LogPath"] == ""
    info = api.ok("GET", "/info")
    assert info["LoggingDriver"] == "local" and set(info["Plugins"]["Log"]) == {"local", "json-file", "journald", "syslog"}
    assert sorted(logs(api, ident).splitlines()) == ["err", "out"]
    assert os.path.getsize(folder(engine, ident) + "/container.log") == 2 * 17 + 6


def test_local_rotates_and_compresses(api, engine):
    ident = ran(api, "sh", "-c", "for i in $(seq 1 20000); do echo line $i; done", driver="local", opts={"max-size": "50k", "max-file": "3"})
    names = sorted(os.path.basename(n) for n in glob.glob(folder(engine, ident) + "/container.log*"))
    assert names[0] == "container.log" and len(names) == 3 and "container.log.2.gz" in names, names
    lines = logs(api, ident).splitlines()
    assert lines == [f"line {i}" for i in range(20001 - len(lines), 20001)] and len(lines) > 3000
    assert logs(api, ident, "stdout=1&tail=5000").splitlines() == lines[-5000:]


def test_json_file_lines(api, engine):
    ident = ran(api, "sh", "-c", "printf 'a\\tb<c>\\n'; printf 'e\\377' >&2", driver="json-file",
                opts={"labels": "team", "env": "STAGE,NONE", "env-regex": "^X_", "tag": "{{.Name}}/{{.ID}}", "labels-regex": "^re"},
                name="liner", Labels={"team": "blue", "region": "eu", "other": "no"}, Env=["STAGE=prod", "X_1=y=z"])
    path = api.ok("GET", f"/containers/{ident}/json")["LogPath"]
    assert path == f"{folder(engine, ident)}/{ident}-json.log"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    attrs = '"attrs":{"STAGE":"prod","X_1":"y=z","region":"eu","tag":"liner/%s","team":"blue"},' % ident[:12]
    stamp = r'"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"\}'
    out = next(line for line in text.splitlines() if '"stdout"' in line)
    assert re.fullmatch(re.escape('{"log":"a\\u0009b\\u003cc\\u003e\\n","stream":"stdout",' + attrs) + stamp, out), out
    err = next(line for line in text.splitlines() if '"stderr"' in line)
    assert re.fullmatch(re.escape('{"log":"e\\ufffd","stream":"stderr",' + attrs) + stamp, err), err
    tag = urllib.parse.quote_plus(f"liner/{ident[:12]}")
    assert logs(api, ident, "stdout=1&details=1") == f"STAGE=prod,X_1=y%3Dz,region=eu,tag={tag},team=blue a\tb<c>\n"


def test_details_of_local(api):
    ident = ran(api, "echo", "x", driver="local", opts={"labels": "team"}, Labels={"team": "a b"})
    assert logs(api, ident, "stdout=1&details=1") == "team=a+b x\n"
    line = logs(api, ident, "stdout=1&details=1&timestamps=1")
    assert re.fullmatch(r"\S+Z team=a\+b x\n", line)
    plain = ran(api, "echo", "x")
    assert logs(api, plain, "stdout=1&details=1") == " x\n"  # as Docker


def test_json_file_compress(api, engine):
    ident = ran(api, "sh", "-c", "for i in $(seq 1 5000); do echo line $i; done", driver="json-file", opts={"max-size": "50k", "max-file": "4", "compress": "true"})
    assert glob.glob(folder(engine, ident) + "/*-json.log.3.gz")
    lines = logs(api, ident).splitlines()
    assert lines == [f"line {i}" for i in range(5001 - len(lines), 5001)]


def test_none_is_not_readable(api):
    ident = ran(api, "echo", "gone", driver="none")
    for answer in (api.get(f"/containers/{ident}/logs?stdout=1"), api.delete(f"/containers/{ident}/logs")):
        assert answer.status == 501 and answer.message == UNREADABLE
    assert api.ok("GET", f"/containers/{ident}/json")["LogPath"] == ""


@pytest.mark.parametrize("driver", ["fluentd", "gelf", "awslogs", "splunk", "gcplogs", "etwlogs", "logentries"])
def test_other_drivers_are_refused(api, driver):
    answer = create(api, "true", driver=driver)
    assert answer.status == 501 and answer.message == f"logging driver '{driver}' is not supported by this release: use local, json-file, journald, syslog or none"


@pytest.mark.parametrize("driver,opts,status,text", [
    ("nosuch", {}, 400, "logger: no log driver named 'nosuch' is registered"),
    ("local", {"nosuch": "1"}, 400, "unknown log opt 'nosuch' for log driver local"),
    ("json-file", {"max-size": "big"}, 400, "max-size"),
    ("json-file", {"max-file": "0"}, 400, "max-file cannot be less than 1"),
    ("json-file", {"compress": "true"}, 400, "compress cannot be true when max-file is less than 2 or max-size is not set"),
    ("local", {"mode": "later"}, 400, "logger: logging mode not supported: later"),
    ("local", {"max-buffer-size": "1m"}, 400, "logger: max-buffer-size option is only supported with 'mode=non-blocking'"),
    ("syslog", {"syslog-address": "tcp+tls://127.0.0.1:1"}, 501, "TLS"),
    ("syslog", {"syslog-address": "gopher://x"}, 400, "unsupported scheme: 'gopher'"),
    ("syslog", {"syslog-facility": "local9"}, 400, "invalid syslog facility"),
    ("local", {"tag": "{{.Nope}}"}, 400, ".Nope"),
], ids=str)
def test_bad_options(api, driver, opts, status, text):
    answer = create(api, "true", driver=driver, opts=opts)
    assert answer.status == status and text in answer.message, answer


def test_daemon_default(own_engine, tmp_path):
    config = tmp_path / "daemon.json"
    config.write_text(json.dumps({"log-driver": "json-file", "log-opts": {"max-size": "20k", "max-file": "2"}}))
    engine = own_engine(extra=["--config-file", str(config)])
    ident = ran(engine.api, "sh", "-c", "for i in $(seq 1 2000); do echo line $i; done")
    shown = engine.api.ok("GET", f"/containers/{ident}/json")
    assert shown["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "20k", "max-file": "2"}}
    assert engine.api.ok("GET", "/info")["LoggingDriver"] == "json-file"
    assert os.path.exists(shown["LogPath"] + ".1") and not os.path.exists(shown["LogPath"] + ".2")
    # What the container asks for counts more; options of another driver are not mixed in.
    other = create(engine.api, "true", opts={"max-file": "5"}).json["Id"]
    assert engine.api.ok("GET", f"/containers/{other}/json")["HostConfig"]["LogConfig"]["Config"] == {"max-size": "20k", "max-file": "5"}
    local = create(engine.api, "true", driver="local").json["Id"]
    assert engine.api.ok("GET", f"/containers/{local}/json")["HostConfig"]["LogConfig"] == {"Type": "local", "Config": {}}


# --- syslog and journald -------------------------------------------------------------------------------

@pytest.fixture
def sinks():
    made = []
    yield lambda sink: made.append(sink) or sink
    for sink in made:
        sink.close()


@pytest.mark.parametrize("kind,scheme", [(socket.SOCK_DGRAM, "unixgram"), (socket.SOCK_STREAM, "unix")], ids=["unixgram", "unix"])
def test_syslog_unix(api, tmp_path, sinks, kind, scheme):
    sink = sinks(unix_sink(str(tmp_path / "log"), kind))
    ident = ran(api, "sh", "-c", "echo out; echo err >&2", driver="syslog", opts={"syslog-address": f"{scheme}://{tmp_path}/log", "syslog-facility": "local3"})
    wait_for(lambda: len(sink.lines()) == 2, "both lines have come")
    for line, number in zip(sorted(sink.lines(), key=lambda text: "err" in text), ("158", "155")):
        assert re.fullmatch(rf"<{number}>\w{{3}} [ \d]\d \d\d:\d\d:\d\d {ident[:12]}\[\d+\]: (out|err)", line), line
    assert sorted(logs(api, ident).split()) == ["err", "out"]  # from the cache


@pytest.mark.parametrize("kind,scheme", [(socket.SOCK_DGRAM, "udp"), (socket.SOCK_STREAM, "tcp")], ids=["udp", "tcp"])
def test_syslog_inet(api, netns, sinks, kind, scheme):
    sink = sinks(inet_sink(netns, kind))
    ran(api, "echo", "over the net", name="sender", driver="syslog",
        opts={"syslog-address": f"{scheme}://localhost:{sink.port}", "syslog-format": "rfc5424micro", "tag": "{{.Name}}"})
    wait_for(lambda: sink.lines(), "the line has come")
    assert re.fullmatch(rf"<30>1 \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}(Z|[+-]\d\d:\d\d) {re.escape(socket.gethostname())} sender \d+ sender - over the net", sink.lines()[0])


def test_syslog_that_is_not_there(api, tmp_path, netns):
    for address in (f"unix://{tmp_path}/none", "tcp://127.0.0.1:9", "udp://no-such-host.invalid:514"):
        ident = create(api, "true", driver="syslog", opts={"syslog-address": address}).json["Id"]
        answer = api.post(f"/containers/{ident}/start")
        assert answer.status == 500 and "failed to initialize logging driver" in answer.message, answer


def test_cache_disabled(api, tmp_path, sinks):
    sink = sinks(unix_sink(str(tmp_path / "log"), socket.SOCK_DGRAM))
    ident = ran(api, "echo", "away", driver="syslog", opts={"syslog-address": f"unixgram://{tmp_path}/log", "cache-disabled": "true"})
    wait_for(lambda: sink.lines(), "the line has come")
    answer = api.get(f"/containers/{ident}/logs?stdout=1")
    assert answer.status == 501 and answer.message == UNREADABLE


def test_many_lines_arrive_in_order(api, netns, sinks):
    sink = sinks(inet_sink(netns, socket.SOCK_STREAM))
    ran(api, "sh", "-c", "for i in $(seq 1 20000); do echo $i; done", driver="syslog", opts={"syslog-address": f"tcp://127.0.0.1:{sink.port}"})
    wait_for(lambda: len(sink.lines()) >= 20000, "all lines have come", 10)
    assert [line.rsplit(" ", 1)[1] for line in sink.lines()] == [str(i) for i in range(1, 20001)]


# Lines of 4,000 bytes: the kernel's socket buffers take megabytes before a peer that does not read is felt.
STUCK = "l=$(head -c 4000 /dev/zero | tr '\\0' x); i=0; while :; do i=$((i+1)); echo $i $l; echo $i > /count; done"


def count(engine, ident):
    try:
        with open(folder(engine, ident) + "/upper/count", encoding="ascii") as file:
            return int(file.read() or 0)
    except (OSError, ValueError):
        return 0


def test_stuck_sink_blocking(api, engine, netns, sinks):
    sink = sinks(inet_sink(netns, socket.SOCK_STREAM, reading=False))
    ident = run(api, "sh", "-c", STUCK, driver="syslog", opts={"syslog-address": f"tcp://127.0.0.1:{sink.port}"})
    reached = []

    def stands_still():
        reached.append(count(engine, ident))
        return len(reached) > 8 and reached[-1] > 0 and len(set(reached[-8:])) == 1
    wait_for(stands_still, "the container is held up", 30, 0.1)
    # Everything else goes on.
    made = api.ok("POST", f"/containers/{ident}/exec", {"Cmd": ["echo", "alive"], "AttachStdout": True})["Id"]
    answer = api.post(f"/exec/{made}/start", {"Detach": False})
    assert stream(answer.body, 1) == b"alive\n"
    sink.reading = True
    wait_for(lambda: count(engine, ident) > reached[-1], "it goes on when the peer reads")
    sink.reading = False
    time.sleep(0.5)
    assert api.post(f"/containers/{ident}/stop?t=1", timeout=30).status == 204
    assert api.ok("GET", f"/containers/{ident}/json")["State"]["Running"] is False
    assert api.delete(f"/containers/{ident}").status == 204


def test_stuck_sink_non_blocking(api, engine, netns, sinks):
    sink = sinks(inet_sink(netns, socket.SOCK_STREAM, reading=False))
    ident = run(api, "sh", "-c", STUCK, driver="syslog",
                opts={"syslog-address": f"tcp://127.0.0.1:{sink.port}", "mode": "non-blocking", "max-buffer-size": "64k"})
    wait_for(lambda: count(engine, ident) > 4000, "the container runs on", 60)
    assert api.post(f"/containers/{ident}/stop?t=0", timeout=30).status == 204
    # The cache has all, the peer what came before its buffer was full.
    lines = logs(api, ident, "stdout=1&tail=10").split("\n")
    assert int(lines[-2].split()[0]) > 4000


@pytest.fixture
def journal(own_engine, tmp_path, sinks):
    """An engine whose mount namespace has a journal's socket where the real one would be."""
    if not os.path.isdir("/run/systemd"):
        pytest.skip("no /run/systemd to mount a journal's socket below")
    engine = own_engine(start=False)
    os.makedirs(tmp_path / "systemd/journal")
    sink = sinks(unix_sink(str(tmp_path / "systemd/journal/socket"), socket.SOCK_DGRAM))
    engine.argv = ["unshare", "--mount", "sh", "-c", f'mount --bind {tmp_path}/systemd /run/systemd && exec "$@"', "sh", *engine.argv]
    engine.start()
    engine.load("busybox")
    return engine, sink


def test_journald(journal):
    engine, sink = journal
    ident = ran(engine.api, "sh", "-c", "echo out; sleep 0.1; echo err >&2", driver="journald", name="writer", opts={"labels": "com.team", "tag": "t-{{.Name}}"},
                Labels={"com.team": "blue"})
    wait_for(lambda: len(sink.messages) == 2, "both messages have come")
    out, err = (journal_fields(m) for m in sink.messages)
    assert out["MESSAGE"] == b"out" and out["PRIORITY"] == b"6" and err["MESSAGE"] == b"err" and err["PRIORITY"] == b"3"
    for message in (out, err):
        assert message["CONTAINER_ID"] == ident[:12].encode() and message["CONTAINER_ID_FULL"] == ident.encode()
        assert message["CONTAINER_NAME"] == b"writer" and message["CONTAINER_TAG"] == message["SYSLOG_IDENTIFIER"] == b"t-writer"
        assert message["IMAGE_NAME"] == b"busybox" and message["COM_TEAM"] == b"blue"
    assert logs(engine.api, ident) == "out\nerr\n"


def test_journald_parts_and_large_messages(journal):
    engine, sink = journal
    ran(engine.api, "sh", "-c", "head -c 40000 /dev/zero | tr '\\0' x; echo", driver="journald", opts={"labels": "large"}, Labels={"large": "y" * 300000})
    wait_for(lambda: len(sink.messages) == 3, "three parts have come")
    parts = [journal_fields(m) for m in sink.messages]
    assert b"".join(p["MESSAGE"] for p in parts) == b"x" * 40000
    assert [p.get("CONTAINER_PARTIAL_MESSAGE") for p in parts] == [b"true", b"true", None]
    assert [p["CONTAINER_PARTIAL_ORDINAL"] for p in parts] == [b"1", b"2", b"3"] and parts[2]["CONTAINER_PARTIAL_LAST"] == b"true"
    assert all(len(p["LARGE"]) == 300000 for p in parts)


def test_journald_that_is_not_there(api):
    if os.path.exists("/run/systemd/journal/socket"):
        pytest.skip("this machine has a journal")
    ident = create(api, "true", driver="journald").json["Id"]
    answer = api.post(f"/containers/{ident}/start")
    assert answer.status == 500 and "journald is not enabled on this host" in answer.message


# --- reading ------------------------------------------------------------------------------------------

def test_times_and_tail(api):
    ident = ran(api, "sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.05; done")
    stamped = [line.split() for line in logs(api, ident, "stdout=1&timestamps=1").splitlines()]
    assert [text for _, text in stamped] == list("123456")
    third, fourth = stamped[2][0], stamped[3][0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", third)
    fraction = third[19:29]

    def seconds(stamp):
        return str(int(time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))) - time.timezone) + stamp[19:29]
    assert logs(api, ident, f"stdout=1&since={third}") == logs(api, ident, f"stdout=1&since={seconds(third)}") == "3\n4\n5\n6\n" and fraction
    assert logs(api, ident, f"stdout=1&until={fourth}") == logs(api, ident, f"stdout=1&until={seconds(fourth)}") == "1\n2\n3\n4\n"
    assert logs(api, ident, f"stdout=1&since={third}&until={fourth}") == "3\n4\n"
    assert logs(api, ident, "stdout=1&tail=2") == "5\n6\n" and logs(api, ident, "stdout=1&tail=0") == ""
    assert logs(api, ident, f"stdout=1&tail=2&since={third}") == "5\n6\n" and logs(api, ident, "stdout=1&tail=all") == "1\n2\n3\n4\n5\n6\n"
    assert logs(api, ident, "stderr=1") == ""
    assert api.get(f"/containers/{ident}/logs").status == 400
    assert api.get(f"/containers/{ident}/logs?stdout=1&since=yesterday").status == 400


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_long_lines_and_binary(api, driver):
    ident = ran(api, "sh", "-c", "head -c 50000 /dev/zero | tr '\\0' x; echo; printf 'a\\0b\\1\\n'; printf end", driver=driver)
    assert logs(api, ident, "stdout=1") == "x" * 50000 + "\na\0b\1\nend"


def test_binary_bytes_are_kept_by_local(api):
    ident = ran(api, "sh", "-c", "for i in 0 1 2 3; do for j in 0 1 2 3 4 5 6 7; do for k in 0 1 2 3 4 5 6 7; do printf \"\\\\$i$j$k\"; done; done; done")
    assert b"".join(data for _, data in frames(api.get(f"/containers/{ident}/logs?stdout=1").body)) == bytes(range(256))


@pytest.mark.parametrize("driver,opts", [("local", {"max-size": "8k", "max-file": "100"}), ("json-file", {"max-size": "16k", "max-file": "100"}),
                                         ("json-file", {"max-size": "16k", "max-file": "100", "compress": "true"})], ids=["local", "json", "json-gz"])
def test_following_over_rotations_loses_nothing(api, driver, opts):
    script = "for i in $(seq 1 30000); do echo line $i; case $i in *000) sleep 0.01;; esac; done"
    ident = run(api, "sh", "-c", script, driver=driver, opts=opts)
    results = {}

    def follow(number):
        results[number] = logs(api, ident, "stdout=1&follow=1", timeout=60).splitlines()
    followers = [threading.Thread(target=follow, args=(n,)) for n in range(3)]
    for thread in followers:
        thread.start()
        time.sleep(0.05)
    for thread in followers:
        thread.join()
    expected = [f"line {i}" for i in range(1, 30001)]
    for seen in results.values():
        assert seen == expected, (len(seen), next(((a, b) for a, b in zip(seen, expected) if a != b), None))


def test_reading_while_rotating_has_no_holes(api):
    ident = run(api, "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; done", driver="local", opts={"max-size": "4k", "max-file": "4"})
    for query in ["stdout=1", "stdout=1&tail=700"] * 20:
        numbers = [int(n) for n in logs(api, ident, query).split()]
        # Whole files may have been rotated away behind the reader's place; what it gives is without repeats.
        assert numbers == sorted(set(numbers)), numbers
    api.post(f"/containers/{ident}/kill")


def test_follow_ends_with_each_run(api):
    ident = run(api, "sh", "-c", "echo one; sleep 0.5; exit 1", HostConfig={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1}})
    assert logs(api, ident, "stdout=1&follow=1") == "one\n"
    wait_for(lambda: not api.ok("GET", f"/containers/{ident}/json")["State"]["Running"] and logs(api, ident) == "one\none\n", "the second run is over", 15)


def test_follow_of_one_that_does_not_run_ends(api):
    ident = create(api, "echo", "x").json["Id"]
    assert logs(api, ident, "stdout=1&follow=1", timeout=5) == ""
    api.post(f"/containers/{ident}/start")
    wait(api, ident)
    assert logs(api, ident, "stdout=1&follow=1", timeout=5) == "x\n"


def test_follow_until(api):
    ident = run(api, "sh", "-c", "while :; do echo x; sleep 0.1; done")
    started = time.time()
    text = logs(api, ident, f"stdout=1&follow=1&until={started + 1:.3f}", timeout=30)
    assert 0.8 < time.time() - started and len(text.split()) <= 12
    quiet = run(api, "sleep", "99")
    started = time.time()
    assert logs(api, quiet, f"stdout=1&follow=1&until={started + 0.5:.3f}", timeout=30) == ""
    for one in (ident, quiet):
        api.post(f"/containers/{one}/kill")


def test_torn_end(api, engine):
    """As a monitor leaves it that was killed inside a write."""
    ident = ran(api, "echo", "first")
    with open(folder(engine, ident) + "/container.log", "ab") as file:
        file.write(b"\x20\0\0\0\xa5torn")
    assert logs(api, ident) == "first\n"
    assert api.post(f"/containers/{ident}/start").status == 204
    wait(api, ident)
    assert logs(api, ident) == "first\nfirst\n" and logs(api, ident, "stdout=1&tail=1") == "first\n"


# --- clearing -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_clear(api, engine, driver):
    ident = run(api, "sh", "-c", "for i in $(seq 1 3000); do echo old $i; done; trap 'echo new' USR1; while :; do sleep 0.05; done",
                driver=driver, opts={"max-size": "10k", "max-file": "3"})
    wait_for(lambda: logs(api, ident, "stdout=1&tail=1") == "old 3000\n", "the old lines")
    answer = api.delete(f"/containers/{ident}/logs")
    assert answer.status == 204 and answer.body == b""
    assert logs(api, ident) == ""
    assert [os.path.getsize(n) for n in glob.glob(folder(engine, ident) + "/*log*") if os.path.isfile(n)] == [0]
    api.post(f"/containers/{ident}/kill?signal=USR1")
    wait_for(lambda: logs(api, ident) == "new\n", "the log goes on")
    api.post(f"/containers/{ident}/kill")
    assert api.delete(f"/containers/{ident}/logs").status == 204 and logs(api, ident) == ""
    assert api.delete("/containers/nosuch/logs").status == 404


# --- attach with logs ---------------------------------------------------------------------------------

@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_attach_logs_only(api, driver):
    ident = ran(api, "sh", "-c", "echo out; sleep 0.1; echo err >&2", driver=driver)
    peer, head, rest = api.hijack(f"/containers/{ident}/attach?logs=1&stdout=1&stderr=1")
    assert " 101 " in head
    assert frames(read_until_closed(peer, rest)) == [(1, b"out\n"), (2, b"err\n")]
    peer, _, rest = api.hijack(f"/containers/{ident}/attach?logs=1&stdout=1")
    assert frames(read_until_closed(peer, rest)) == [(1, b"out\n")]
    peer, _, rest = api.hijack(f"/containers/{ident}/attach")
    assert read_until_closed(peer, rest) == b""


def test_attach_logs_and_stream_without_gap(api):
    ident = run(api, "sh", "-c", "i=0; while [ $i -lt 12000 ]; do i=$((i+1)); echo $i; done", driver="local", opts={"max-size": "20k", "max-file": "100"})
    results = []

    def attach():
        peer, _, rest = api.hijack(f"/containers/{ident}/attach?logs=1&stream=1&stdout=1&stderr=1", timeout=120)
        results.append(stream(read_until_closed(peer, rest), 1))
    threads = [threading.Thread(target=attach) for _ in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    expected = "".join(f"{i}\n" for i in range(1, 12001)).encode()
    for seen in results:
        lines, whole = seen.split(b"\n"), expected.split(b"\n")
        gap = next((i for i, (a, b) in enumerate(zip(lines, whole)) if a != b), len(lines))
        assert seen == expected, f"{len(lines)} lines, different from {gap}: {lines[gap - 2:gap + 3]}"


def test_attach_logs_shows_an_unfinished_line(api):
    ident = run(api, "sh", "-c", "echo whole; printf 'prompt> '; read x; echo got $x", Tty=True, OpenStdin=True)
    wait_for(lambda: "whole" in api.get(f"/containers/{ident}/logs?stdout=1").body.decode(), "the first line")
    peer, _, rest = api.hijack(f"/containers/{ident}/attach?logs=1&stream=1&stdin=1&stdout=1")
    seen = rest
    while b"prompt> " not in seen:
        seen += peer.recv(4096)
    assert seen == b"whole\r\nprompt> "
    peer.sendall(b"it\n")
    assert read_until_closed(peer).replace(b"\r", b"").endswith(b"got it\n")


def test_attach_logs_of_an_unreadable_driver(api):
    ident = run(api, "sleep", "99", driver="none")
    answer = api.post(f"/containers/{ident}/attach?logs=1&stdout=1")
    assert answer.status == 501 and answer.message == UNREADABLE
    api.post(f"/containers/{ident}/kill")
