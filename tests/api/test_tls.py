# SPDX-License-Identifier: Apache-2.0
"""The API over TCP with TLS: who is let in, and that streams are streams there too."""
import os
import signal
import subprocess
import sys

import pytest

from harness.api import frames
from harness.certs import Authority, server_flags
from harness.clients import caisson_program, find_docker
from harness.shell import run, wait_for

PORT = 23760
HOST = f"tcp://127.0.0.1:{PORT}"


class Certificates:
    def __init__(self, directory):
        self.ours, self.foreign = Authority(directory, "ours"), Authority(directory, "foreign")
        self.server = self.ours.issue("engine", "serverAuth")
        self.client = self.ours.issue("alice", "clientAuth")
        self.stranger = self.foreign.issue("mallory", "clientAuth")
        self.late = self.ours.issue("late", "clientAuth", days=-1)


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture
def tls_engine(own_engine, certs):
    def make(images=(), home=None, verify=True, extra=()):
        return own_engine(images=images, extra=["--host", HOST, *server_flags(home or certs.server, verify=verify), *extra])
    return make


@pytest.fixture(params=["docker", "caisson"])
def client(request, netns, tmp_path):
    """client(*args, certs=DIR) with the host of the TLS listener."""
    program = find_docker() if request.param == "docker" else caisson_program()
    if program is None:
        pytest.skip("no docker client: none on PATH and none unpacked from Debian")

    def call(*args, certs=None, rc=0, host=HOST, stdin=None, verify=True, env=None):
        full = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "CAISSON_")) and not k.lower().endswith("_proxy")}
        full.update({"DOCKER_CONFIG": str(tmp_path / "empty"), "HOME": str(tmp_path), "DOCKER_HOST": host})
        if certs:
            full["DOCKER_CERT_PATH"] = certs
        if verify:
            full["DOCKER_TLS_VERIFY"] = "1"
        return run(netns.enter([program, *args]), {**full, **(env or {})}, rc=rc, stdin=stdin)
    call.program = program
    call.name = request.param
    return call


# --- raw connections --------------------------------------------------------------------------------

class Raw:
    """A script inside the network namespace that speaks to the listener; it gets `sock` and `context`."""

    def __init__(self, netns, certs):
        self.netns, self.certs = netns, certs

    def __call__(self, script, home=None, timeout=40):
        head = f"""
import base64, json, os, socket, ssl, sys
def plain():
    return socket.create_connection(("127.0.0.1", {PORT}), timeout=20)
def secure(home={home or self.certs.client!r}, version=None):
    context = ssl.create_default_context(cafile={self.certs.server + '/ca.pem'!r})
    if home: context.load_cert_chain(home + "/cert.pem", home + "/key.pem")
    if version: context.maximum_version = version
    return context.wrap_socket(plain(), server_hostname="127.0.0.1")
def until(peer, mark):
    data = b""
    while mark not in data:
        piece = peer.recv(65536)
        if not piece: break
        data += piece
    return data
def get(peer, path):
    peer.sendall(f"GET {{path}} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
    data = b""
    while piece := peer.recv(65536): data += piece
    return data
"""
        return run(self.netns.enter([sys.executable, "-c", head + script]), timeout=timeout).out


@pytest.fixture
def raw(netns, certs):
    return Raw(netns, certs)


# --- who is let in ----------------------------------------------------------------------------------

def test_tls_clients_with_a_certificate(tls_engine, certs, client):
    tls_engine()
    assert client("version", "--format", "{{.Server.Os}}", certs=certs.client).out == "linux\n"


def test_tls_flags_of_the_client(tls_engine, certs, client):
    tls_engine()
    done = client("--tlsverify", "--tlscacert", certs.server + "/ca.pem", "--tlscert", certs.client + "/cert.pem", "--tlskey", certs.client + "/key.pem",
                  "-H", HOST, "version", "--format", "{{.Server.Os}}", verify=False, env={"DOCKER_HOST": ""})
    assert done.out == "linux\n"


def test_tls_without_verification(tls_engine, certs, client, raw):
    """--tls only encrypts: any client is served, and a client with --tls takes any certificate."""
    engine = tls_engine(home=certs.foreign.issue("anybody", "serverAuth", names="DNS:elsewhere"), verify=False)
    assert client("--tls", "version", "--format", "{{.Server.Os}}", certs=certs.client, verify=False).out == "linux\n"
    assert "clients need no certificate" in engine.log()


def test_tls_client_without_certificate_is_refused(tls_engine, certs, client, tmp_path):
    tls_engine()
    (tmp_path / "only-ca").mkdir()
    with open(certs.server + "/ca.pem", encoding="ascii") as file:
        (tmp_path / "only-ca" / "ca.pem").write_text(file.read())
    done = client("version", certs=str(tmp_path / "only-ca"), rc=1)
    # Who is refused may still be writing, and then hears of the end before the reason.
    assert any(words in done.err for words in ("certificate required", "connection reset", "broken pipe")), done


@pytest.mark.parametrize("who", ["stranger", "late"])
def test_tls_client_with_a_bad_certificate_is_refused(tls_engine, certs, client, who, tmp_path):
    tls_engine()
    home = tmp_path / who
    home.mkdir()
    for name in ("cert.pem", "key.pem"):
        with open(f"{getattr(certs, who)}/{name}", encoding="ascii") as file:
            (home / name).write_text(file.read())
    with open(certs.server + "/ca.pem", encoding="ascii") as file:
        (home / "ca.pem").write_text(file.read())
    assert client("version", certs=str(home), rc=1).err.strip()


def test_tls_server_of_another_authority_is_refused(tls_engine, certs, client):
    tls_engine()
    done = client("version", certs=certs.stranger, rc=1)
    assert any(words in done.err for words in ("certificate", "connection reset", "broken pipe")), done


def test_tls_server_with_an_expired_certificate_is_refused(tls_engine, certs, client):
    tls_engine(home=certs.ours.issue("expired", "serverAuth", days=-1))
    done = client("version", certs=certs.client, rc=1)
    assert "expired" in done.err, done


def test_tls_server_of_another_name_is_refused(tls_engine, certs, client):
    tls_engine(home=certs.ours.issue("elsewhere", "serverAuth", names="DNS:engine.example"))
    done = client("version", certs=certs.client, rc=1)
    assert "127.0.0.1" in done.err or "mismatch" in done.err, done


def test_tls_versions(tls_engine, raw):
    tls_engine()
    out = raw("""
print(secure().version(), secure(version=ssl.TLSVersion.TLSv1_2).version())
context = ssl.create_default_context(cafile=%r)
context.minimum_version = ssl.TLSVersion.TLSv1
context.maximum_version = ssl.TLSVersion.TLSv1_1
context.set_ciphers("ALL:@SECLEVEL=0")
try: context.wrap_socket(plain(), server_hostname="127.0.0.1"); print("old")
except (ssl.SSLError, OSError): print("refused")
""" % (raw.certs.server + "/ca.pem"))
    assert out.split() == ["TLSv1.3", "TLSv1.2", "refused"]


@pytest.mark.parametrize("flags, words", [
    (["--tlscert", "/no/such/cert.pem"], "/no/such/cert.pem"), (["--tlskey", "{server}/cert.pem"], "could not load the key"),
    (["--tlskey", "{client}/key.pem"], "the key does not belong to the certificate"), (["--tlscacert", "{server}/key.pem"], "could not load the certificate authorities")])
def test_tls_bad_material_is_a_start_error(own_engine, certs, flags, words):
    flags = [flag.format(server=certs.server, client=certs.client) for flag in flags]
    engine = own_engine(start=False, extra=["--host", HOST, *server_flags(certs.server), *flags])
    done = run(engine.argv, rc=1, timeout=20)
    assert words in done.err, done


# --- what flows -------------------------------------------------------------------------------------

def test_tls_run_attached(tls_engine, certs, client):
    tls_engine(images=("busybox",))
    done = client("run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo done; echo err >&2; exit 3", certs=certs.client, stdin="one\ntwo\n", rc=3)
    assert done.out == "one\ntwo\ndone\n" and done.err.endswith("err\n")


def test_tls_much_data_both_ways(tls_engine, certs, client):
    tls_engine(images=("busybox",))
    data = bytes(range(256)) * 20000
    done = client("run", "--rm", "-i", "busybox", "cat", certs=certs.client, stdin=data)
    assert done.raw == data


def test_tls_exec_logs_and_cp(tls_engine, certs, client, tmp_path):
    engine = tls_engine(images=("busybox",))
    client("run", "-d", "--name", "over-tls", "busybox", "sh", "-c", "echo started; sleep 1000", certs=certs.client)
    assert client("exec", "-i", "over-tls", "tr", "a-z", "A-Z", certs=certs.client, stdin="half closed").out == "HALF CLOSED"
    wait_for(lambda: client("logs", "over-tls", certs=certs.client).out == "started\n", "the line is in the log")
    (tmp_path / "file").write_text("copied")
    client("cp", str(tmp_path / "file"), "over-tls:/there", certs=certs.client)
    assert client("exec", "over-tls", "cat", "/there", certs=certs.client).out == "copied"
    assert client("ps", "--format", "{{.Names}}", certs=certs.client).out == "over-tls\n"
    assert engine.api.delete("/containers/over-tls?force=1").status == 204


def test_tls_log_follow_ends_with_the_container(tls_engine, certs, client):
    tls_engine(images=("busybox",))
    client("run", "-d", "--name", "talker", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done", certs=certs.client)
    assert client("logs", "-f", "talker", certs=certs.client).out == "1\n2\n3\n"


def test_tls_load_of_an_image(tls_engine, certs, client):
    engine = tls_engine()
    from harness.shell import IMAGES
    assert "Loaded image: busybox:latest" in client("load", "-i", f"{IMAGES}/busybox.tar", certs=certs.client).out
    assert engine.images()[0]["RepoTags"] == ["busybox:latest"]


HIJACK = """
def hijack(peer, path, body=b""):
    peer.sendall(f"POST {path} HTTP/1.1\\r\\nHost: d\\r\\nConnection: Upgrade\\r\\nUpgrade: tcp\\r\\nContent-Type: application/json\\r\\n"
                 f"Content-Length: {len(body)}\\r\\n\\r\\n".encode() + body)
    data = until(peer, b"\\r\\n\\r\\n")
    head, _, rest = data.partition(b"\\r\\n\\r\\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    return rest
"""


def test_tls_close_notify_closes_only_stdin(tls_engine, raw):
    """What the docker client does at the end of its input: close_notify, while the output goes on."""
    engine = tls_engine(images=("busybox",))
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "OpenStdin": True, "StdinOnce": True, "Cmd": ["sh", "-c", "wc -c; sleep 0.2; echo after"]})["Id"]
    # Python's unwrap() waits for the answer's close_notify, so OpenSSL's own client is used on a memory BIO.
    out = raw(HIJACK + """
import threading
sock = plain()
context = ssl.create_default_context(cafile=%r)
context.load_cert_chain(%r, %r)
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
def step(call):
    while True:
        try: value = call()
        except ssl.SSLWantReadError: value = None
        if outgoing.pending: sock.sendall(outgoing.read())
        if value is not None: return value
        piece = sock.recv(65536)
        if piece: incoming.write(piece)
        else: incoming.write_eof()
step(lambda: tls.do_handshake() or True)
class Peer:
    def sendall(self, data): step(lambda: tls.write(data))
    def recv(self, size): return step(lambda: tls.read(size))
peer = Peer()
rest = hijack(peer, "/containers/%s/attach?stream=1&stdin=1&stdout=1")
starter = secure()
starter.sendall(b"POST /containers/%s/start HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\n\\r\\n")
assert b" 204 " in until(starter, b"\\r\\n\\r\\n")
peer.sendall(b"12345")
try: tls.unwrap()
except ssl.SSLError: pass
sock.sendall(outgoing.read())
data = rest
while True:
    try: piece = tls.read(65536)
    except ssl.SSLWantReadError:
        got = sock.recv(65536)
        if not got: break
        incoming.write(got)
        continue
    except ssl.SSLError: break
    if not piece: break
    data += piece
print(data.hex())
""" % (raw.certs.server + "/ca.pem", raw.certs.client + "/cert.pem", raw.certs.client + "/key.pem", ident, ident))
    assert b"".join(d for _, d in frames(bytes.fromhex(out.strip()))) == b"5\nafter\n"


def test_tls_websocket(tls_engine, raw):
    engine = tls_engine(images=("busybox",))
    ident = engine.api.ok("POST", "/containers/create", {"Image": "busybox", "OpenStdin": True, "Tty": True, "Cmd": ["cat"]})["Id"]
    engine.api.ok("POST", f"/containers/{ident}/start")
    out = raw("""
peer = secure()
peer.sendall(b"GET /containers/%s/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
             b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n")
head = until(peer, b"\\r\\n\\r\\n")
assert b" 101 " in head, head
text = b"ping-over-tls\\n"
peer.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
print(b"ping-over-tls" in until(peer, b"ping-over-tls"))
""" % ident)
    assert out == "True\n"


def test_tls_client_that_goes_away_ends_its_stream(tls_engine, raw, netns):
    """The engine notices: no descriptor of the relay is left."""
    engine = tls_engine()
    raw("""
for how in range(10):
    peer = secure()
    peer.sendall(b"GET /events HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    until(peer, b"\\r\\n\\r\\n")
""")
    wait_for(lambda: len(sockets_of(worker_of(engine))) <= 4, "the worker has let go of its connections", 20)


# --- hostile peers ----------------------------------------------------------------------------------

def worker_of(engine):
    return next(pid for pid, name in engine.processes().items() if name == "caisson-tls")


def sockets_of(pid):
    try:
        return [fd for fd in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")]
    except OSError:
        return list(range(1000))


def test_tls_garbage_and_stalls_cost_nothing(tls_engine, raw):
    engine = tls_engine()
    out = raw("""
stalled = [plain() for _ in range(300)]           # says nothing
for peer in stalled[:50]: peer.sendall(b"\\x16\\x03\\x01\\x02")   # begins a handshake and stops
garbage = plain()
garbage.sendall(b"GET /info HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
garbage.settimeout(20)
answer = b""
try:
    while piece := garbage.recv(4096): answer += piece
except OSError: pass
assert b"200 OK" not in answer, answer
print(get(secure(), "/_ping").endswith(b"OK"), end=" ")
closed = 0
for peer in stalled:                                # the oldest ones have made room
    peer.setblocking(False)
    try: closed += peer.recv(1) == b""
    except BlockingIOError: pass
    except OSError: closed += 1
print(closed >= 170)
""")
    assert out == "True True\n"
    assert len(sockets_of(worker_of(engine))) < 400


def test_tls_worker_is_confined_and_replaced(tls_engine, raw, netns):
    engine = tls_engine()
    first = worker_of(engine)
    with open(f"/proc/{first}/status", encoding="ascii") as file:
        status = dict(line.split(":", 1) for line in file)
    assert status["Uid"].split() == ["65534"] * 4 and int(status["CapEff"], 16) == 0 and status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1"
    os.kill(first, signal.SIGKILL)

    def again():
        try:
            return raw("print(get(secure(), '/_ping').endswith(b'OK'))") == "True\n"
        except AssertionError:
            return False
    wait_for(again, "another worker serves", 20, 0.2)
    assert worker_of(engine) != first


def test_tls_attached_client_survives_the_engine(tls_engine, certs, client, netns):
    """The container's stream does not go through the engine, over TLS neither."""
    engine = tls_engine(images=("busybox",))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "CAISSON_"))}
    env.update({"DOCKER_HOST": HOST, "DOCKER_CERT_PATH": certs.client, "DOCKER_TLS_VERIFY": "1", "HOME": "/nonexistent", "DOCKER_CONFIG": certs.client})
    engine.api.ok("POST", "/containers/create?name=cat", {"Image": "busybox", "OpenStdin": True, "Cmd": ["cat"]})
    engine.api.ok("POST", "/containers/cat/start")
    with subprocess.Popen(netns.enter([client.program, "attach", "cat"]), env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdin.write(b"before\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"before\n"
        engine.kill9()
        child.stdin.write(b"after\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"after\n"
        engine.start()
        engine.api.delete("/containers/cat?force=1")
        wait_for(lambda: "caisson-monitor" not in engine.processes().values(), "the monitor has ended", 20)
        child.kill()


def test_tls_peer_in_the_log(tls_engine, certs, client):
    engine = tls_engine(images=("busybox",))
    client("create", "--name", "told", "busybox", certs=certs.client)
    line = wait_for(lambda: next((li for li in engine.log().splitlines() if "/containers/create from 127.0.0.1:" in li), None), "the request is in the log")
    assert line.endswith("certificate 'alice': 201"), line


def test_tcp_without_tls_warns(own_engine):
    engine = own_engine(extra=["--host", f"tcp://127.0.0.1:{PORT}"], images=())
    assert "without encryption" in engine.log()
