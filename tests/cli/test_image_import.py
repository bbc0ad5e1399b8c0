# SPDX-License-Identifier: Apache-2.0
"""import: tars of files, from the client and from a URL, become images of one layer; export gives them back."""
import json
import subprocess
import time

import pytest

from harness.archives import PACKERS, sha256, tar_of
from harness.shell import wait_for

FILES = tar_of({"etc/name": b"imported\n", "bin/link": ("link", "name")})


def inspect(cli, name):
    return json.loads(cli.out("image", "inspect", name))[0]


@pytest.mark.parametrize("packer", PACKERS)
def test_import_of_every_compression(cli, packer, tmp_path):
    path = tmp_path / "files.tar"
    path.write_bytes(PACKERS[packer](FILES))
    image = cli.out("import", path, "flat:1")
    shown = inspect(cli, "flat:1")
    assert shown["Id"] == image and image.startswith("sha256:")
    assert shown["RootFS"]["Layers"] == [sha256(FILES)]


def test_import_from_standard_input_with_changes(cli):
    image = cli.out("import", "-m", "why", "-c", "ENV A=1", "-c", 'CMD ["date"]', "-c", "EXPOSE 80", "-", "changed:2", stdin=FILES)
    shown = inspect(cli, image)
    assert shown["RepoTags"] == ["changed:2"] and shown["Comment"] == "why"
    assert shown["Config"]["Env"] == ["A=1"] and shown["Config"]["Cmd"] == ["date"] and shown["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert shown["Os"] == "linux" and shown["Parent"] == ""
    history = json.loads("[" + ",".join(cli.out("history", "--format", "{{json .}}", "changed:2").splitlines()) + "]")
    assert [step["Comment"] for step in history] == ["why"]


def test_import_without_a_name(cli):
    image = cli.out("import", "-", stdin=FILES)
    shown = inspect(cli, image)
    assert shown["RepoTags"] == [] and shown["Comment"] == "Imported from -"


def test_import_for_another_platform(cli):
    cli("import", "--platform", "linux/arm/v7", "-", "arm:1", stdin=FILES)
    shown = inspect(cli, "arm:1")
    assert (shown["Architecture"], shown["Variant"]) == ("arm", "v7")


def test_the_same_tar_gives_the_same_layer(cli):
    first, second = (inspect(cli, cli.out("import", "-", stdin=FILES)) for _ in range(2))
    assert first["RootFS"] == second["RootFS"] and first["Descriptor"]["size"] == second["Descriptor"]["size"]
    assert {key: first[key] for key in ("Config", "Size", "Os", "Architecture")} == {key: second[key] for key in ("Config", "Size", "Os", "Architecture")}


def test_export_and_import_keep_the_files(cli, tmp_path):
    cli("run", "--name", "maker", "busybox", "sh", "-c", "echo kept > /kept; ln -s kept /also; mkdir -m 1777 /open; chown 7:8 /kept")
    cli("export", "-o", tmp_path / "files.tar", "maker")
    cli("import", "-c", 'CMD ["sh"]', tmp_path / "files.tar", "again:1")
    seen = cli.out("run", "--rm", "again:1", "sh", "-c", "cat /also; stat -c %a /open; stat -c %u:%g /kept").split()
    assert seen == ["kept", "1777", "7:8"]


def test_import_tells_its_events(cli, api):
    since = time.time() - 0.001
    image = cli.out("import", "-", "told:1", stdin=FILES)
    events = [json.loads(line) for line in api.get(f"/events?since={since:.6f}&until={time.time():.6f}").body.decode().splitlines()]
    told = [(event["Action"], event["Actor"]["Attributes"]["name"]) for event in events if event["Actor"]["ID"] == image]
    assert ("import", image) in told and ("tag", "told:1") in told


@pytest.mark.parametrize("query, words", [("changes=FROM+x", "FROM"), ("changes=NONSENSE", "NONSENSE"), ("repo=UPPER", "invalid reference format"), ("repo=a&tag=%21", "invalid tag"),
                                          ("repo=a@sha256:" + 64 * "0", "digest"), ("platform=a/b/c/d/e", "platform")])
def test_a_bad_import_is_refused_before_it_begins(api, query, words):
    answer = api.post(f"/images/create?fromSrc=-&{query}", FILES)
    assert answer.status == 400 and words.lower() in answer.message.lower(), answer


@pytest.mark.parametrize("packer", PACKERS)
def test_an_import_of_rubbish_is_refused_and_leaves_nothing(api, engine, packer):
    before = {image["Id"] for image in engine.images()}
    for rubbish in (b"this is no tar at all\n" * 100, FILES[:700]):
        answer = api.post("/images/create?fromSrc=-&repo=rubbish", PACKERS[packer](rubbish))
        assert answer.status == 400 and answer.message.startswith("import"), answer
    assert {image["Id"] for image in engine.images()} == before


SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/moved':
            self.send_response(302); self.send_header('Location', '/files.tar'); self.end_headers(); return
        if self.path == '/round':
            self.send_response(302); self.send_header('Location', '/round'); self.end_headers(); return
        if self.path != '/files.tar':
            self.send_error(404 if self.path == '/gone' else 503); return
        data = open(sys.argv[1], 'rb').read()
        self.send_response(200); self.send_header('Content-Length', str(len(data))); self.end_headers(); self.wfile.write(data)
    def log_message(self, *a): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
open(sys.argv[2] + '.new', 'w').write(str(server.server_port)); os.rename(sys.argv[2] + '.new', sys.argv[2])
server.serve_forever()
"""


@pytest.fixture
def site(netns, tmp_path):
    (tmp_path / "served").write_bytes(PACKERS["gzip"](FILES))
    server = subprocess.Popen(netns.enter(["/usr/bin/python3", "-c", SERVER, str(tmp_path / "served"), str(tmp_path / "port")]))
    try:
        wait_for((tmp_path / "port").exists, "the web server's port")
        yield "127.0.0.1:" + (tmp_path / "port").read_text()
    finally:
        server.kill()
        server.wait()


def test_import_from_a_url(cli, site):
    for path in ("files.tar", "moved"):
        shown = cli.out("import", f"http://{site}/{path}", "web:1")
        assert "Downloading from http://" in shown
        image = inspect(cli, "web:1")
        assert image["Id"] == shown.splitlines()[-1] and image["RootFS"]["Layers"] == [sha256(FILES)]


def test_an_address_without_a_scheme_is_http(api, site):
    answer = api.post(f"/images/create?fromSrc={site}/files.tar&repo=web&tag=2")
    assert answer.status == 200 and b"sha256:" in answer.body


@pytest.mark.parametrize("path, words", [("gone", "not found"), ("broken", "503"), ("round", "redirect")])
def test_a_url_that_gives_nothing_is_told(cli, site, path, words):
    done = cli("import", f"http://{site}/{path}", rc=1)
    assert words in done.err


def test_a_url_of_another_kind_is_refused(api):
    answer = api.post("/images/create?fromSrc=file:///etc/passwd")
    assert answer.status == 400 and "no http or https URL" in answer.message
