#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A registry that does what no real one should: the first part of a repository's name says which lie it tells. It also
plays token server and search index. Run as a program inside a network namespace; LyingRegistry starts it."""
import base64
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.lying_images import OCI, build, digest_of  # noqa: E402


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def log_message(self, *_):
        pass

    def note(self):
        with self.server.lock:
            self.server.log.write(json.dumps({"method": self.command, "path": self.path, "headers": dict(self.headers), "time": time.time()}) + "\n")
            self.server.log.flush()

    def count(self, key):
        with self.server.lock:
            self.server.counts[key] = self.server.counts.get(key, 0) + 1
            return self.server.counts[key]

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code, message, **headers):
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), Content_Type="application/json", **headers)

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(2)

    def stall(self):
        """Nothing more, until the other side gives up."""
        try:
            self.connection.settimeout(120)
            while self.connection.recv(4096):
                pass
        except OSError:
            pass
        self.close_connection = True

    def trickle(self, piece, pause=0.1):
        """The same again and again, until the other side gives up."""
        self.close_connection = True
        try:
            while True:
                self.wfile.write(piece)
                time.sleep(pause)
        except OSError:
            pass

    def endless(self, chunked=False):
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        piece = b" " * (64 << 10)
        try:
            while True:
                self.wfile.write(b"10000\r\n" + piece + b"\r\n" if chunked else piece)
        except OSError:
            pass

    # --- routes ---

    def do_GET(self):
        self.note()
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/v2/":
            return self.ping()
        if url.path == "/token":
            return self.token(urllib.parse.parse_qs(url.query))
        if url.path == "/v1/search":
            return self.search(urllib.parse.parse_qs(url.query))
        if url.path.startswith("/elsewhere/"):
            return self.blob(urllib.parse.unquote(url.path[len("/elsewhere/"):]).split("@")[0], url.path.split("@")[1])
        if "/blobs/uploads/" in url.path:
            return self.upload_status()
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs|tags|referrers)/([^/]+)", url.path)
        if not found:
            return self.error(404, "NAME_UNKNOWN", "no such address")
        repository, kind, reference = found.groups()
        if not self.may(repository):
            return None
        if kind == "manifests":
            return self.manifest(repository, reference)
        if kind == "blobs":
            return self.blob(repository, reference)
        if kind == "tags":
            return self.tags(repository, urllib.parse.parse_qs(url.query))
        return self.error(404, "UNSUPPORTED", "no referrers")

    do_HEAD = do_GET

    def ping(self):
        words = (self.headers.get("Authorization") or "").split(" ", 1)
        if self.server.token_needed and words[-1] not in self.server.tokens:
            return self.error(401, "UNAUTHORIZED", "authentication required",
                              WWW_Authenticate=f'Bearer realm="{self.own_url()}/token",service="lies"')
        return self.answer(200, b"{}")

    def own_url(self):
        return ("https" if self.server.secure else "http") + "://" + self.headers["Host"]

    def may(self, repository):
        """Token auth for repositories below auth*/, and for all of them where the server asks for it."""
        if not repository.startswith("auth") and not self.server.token_needed:
            return True
        words = (self.headers.get("Authorization") or "").split(" ", 1)
        token = self.server.tokens.get(words[1]) if len(words) == 2 and words[0] == "Bearer" else None
        if token and token["left"] > 0 and any(scope.startswith(f"repository:{repository}:") for scope in token["scopes"]):
            token["left"] -= 1
            return True
        self.error(401, "UNAUTHORIZED", "authentication required",
                   WWW_Authenticate=f'Bearer realm="{self.own_url()}/token",service="lies",scope="repository:{repository}:pull"')
        return False

    def token(self, query, form=None):
        words = (self.headers.get("Authorization") or "").split(" ", 1)
        user, scopes = None, query.get("scope", [])
        if form is None and self.server.post_only:
            return self.answer(405, b"")
        if len(words) == 2 and words[0] == "Basic":
            user, _, password = base64.b64decode(words[1]).decode().partition(":")
            if (user, password) != ("alice", "secret"):
                return self.error(401, "UNAUTHORIZED", "incorrect username or password")
        if form is not None:
            scopes = form.get("scope", [""])[0].split()
            if form.get("grant_type") == ["refresh_token"] and form.get("refresh_token") == ["alices-identity"]:
                user = "alice"
            elif form.get("grant_type") == ["password"] and (form.get("username"), form.get("password")) == (["alice"], ["secret"]):
                user = "alice"
            else:
                return self.error(401, "UNAUTHORIZED", "incorrect identity token")
        scopes = [s for s in scopes if user or not s.startswith("repository:auth/")]
        name = f"token-{self.count('token')}"
        self.server.tokens[name] = {"scopes": scopes, "left": self.server.token_uses}
        answer = {"access_token" if form is not None else "token": name, "expires_in": 300}
        if user and (query.get("offline_token") == ["true"] or (form or {}).get("access_type") == ["offline"]):
            answer["refresh_token"] = "alices-identity"
        return self.answer(200, json.dumps(answer).encode(), Content_Type="application/json")

    def search(self, query):
        term, count = query.get("q", [""])[0], int(query.get("n", ["25"])[0])
        if term == "broken":
            return self.answer(500, b"oops")
        if term == "nonsense":
            return self.answer(200, b"<html>")
        if term == "endless":
            return self.endless()
        found = [{"name": f"{term}{i or ''}", "description": f"Number {i}", "star_count": 100 - i, "is_official": i == 0, "is_automated": i == 1,
                  "is_trusted": False} for i in range(min(count, 40))]
        return self.answer(200, json.dumps({"num_pages": 1, "num_results": len(found), "page_size": count, "page": 1, "query": term,
                                            "results": found}).encode(), Content_Type="application/json")

    def content(self, repository):
        with self.server.lock:
            if repository not in self.server.repositories:
                self.server.repositories[repository] = build(repository)
            return self.server.repositories[repository]

    def tags(self, repository, query):
        names = sorted(self.content(repository).tags)
        if "pages" in repository:
            last = query.get("last", [""])[0]
            rest = [n for n in names if n > last]
            more = {"Link": f'</v2/{repository}/tags/list?last={rest[1]}&n=2>; rel="next"'} if len(rest) > 2 else {}
            return self.answer(200, json.dumps({"name": repository, "tags": rest[:2]}).encode(), Content_Type="application/json", **more)
        return self.answer(200, json.dumps({"name": repository, "tags": names}).encode(), Content_Type="application/json")

    def manifest(self, repository, reference):
        kind = repository.split("/")[0]
        if kind.startswith("status-"):
            status = int(kind[7:])
            code, text = {401: ("UNAUTHORIZED", "authentication required"), 403: ("DENIED", "requested access to the resource is denied"),
                          404: ("MANIFEST_UNKNOWN", "manifest unknown"), 429: ("TOOMANYREQUESTS", "You have reached your pull rate limit"),
                          }.get(status, ("UNKNOWN", "something went wrong"))
            return self.error(status, code, text, **({"Retry_After": "3600"} if status == 429 else {}))
        if kind == "bare-500":
            return self.answer(500, b"<html>down</html>")
        if kind == "busy-once" and self.count(repository) == 1:
            return self.error(429, "TOOMANYREQUESTS", "slow down", Retry_After="1")
        if kind == "unavailable-twice" and self.count(repository) <= 2:
            return self.answer(503, b"")
        if kind == "redirect-loop":
            return self.answer(307, b"", Location=self.path + "?" + str(self.count(repository)))
        if kind == "redirect-file":
            return self.answer(307, b"", Location="file:///etc/passwd")
        if kind == "redirect-metadata":
            return self.answer(307, b"", Location="http://169.254.169.254/latest/meta-data/")
        if kind == "big-manifest":
            return self.answer(200, b" " * (100 << 20), Content_Type=OCI + "manifest.v1+json")
        if kind == "endless-manifest":
            return self.endless()
        if kind == "endless-chunked":
            return self.endless(chunked=True)
        if kind == "stalled-manifest":
            self.send_response(200)
            self.send_header("Content-Length", "500")
            self.end_headers()
            self.wfile.write(b"{")
            return self.stall()
        if kind == "trickled-manifest":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.2)
            except OSError:
                return None
        if kind == "trickled-head":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            return self.trickle(b"x")
        if kind == "interim":
            return self.trickle(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        if kind == "interim-flood":
            return self.trickle(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, pause=0)
        if kind == "endless-head":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            return self.trickle(b"X-More: and more\r\n" * 1000, pause=0)
        if kind == "chunk-extension":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
            return self.trickle(b"x")
        if kind == "hang-up":
            return self.hang_up()
        if kind == "garbage":
            self.wfile.write(b"\x00\x01\x02 this is no HTTP\r\n\r\n")
            return self.hang_up()
        if kind == "html":
            return self.answer(200, b"<html><body>Please log in to the hotel's network</body></html>", Content_Type="text/html")
        content = self.content(repository)
        digest = content.tags.get(reference, reference)
        if digest not in content.manifests:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        data, media_type = content.manifests[digest]
        if kind == "wrong-manifest":
            data = data.replace(b"2024", b"2025") + b" "
        if kind == "wrong-type":
            media_type = "text/plain"
        if kind == "contradicting-type":
            media_type = OCI + "index.v1+json"
        return self.answer(200, data, Content_Type=media_type, Docker_Content_Digest=digest)

    def blob(self, repository, digest):
        kind, content = repository.split("/")[0], self.content(repository)
        data = content.blobs.get(digest)
        if data is None:
            return self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        is_config = data.startswith(b"{")
        if kind == "wrong-config" and is_config:
            return self.answer(200, data.replace(b"2024", b"2025"))
        if kind.startswith("blob-") and not is_config:
            return self.error(int(kind[5:]), {429: "TOOMANYREQUESTS"}.get(int(kind[5:]), "UNKNOWN"), "not today",
                              **({"Retry_After": "7200"} if kind == "blob-429" else {}))
        if not is_config and self.command == "GET":
            done = self.lie_about_layer(kind, repository, digest, data)
            if done:
                return None
        return self.ranged(data)

    def lie_about_layer(self, kind, repository, digest, data):
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
        half = len(data) // 2
        if kind == "wrong-digest":
            self.answer(200, data[:-9] + bytes(9))
        elif kind == "longer-layer":
            self.answer(200, data + b"more")
        elif kind == "endless-layer":
            self.endless()
        elif kind == "stalled-layer":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:half])
            self.stall()
        elif kind == "trickled-layer":
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            try:
                for at in range(start, len(data)):
                    self.wfile.write(data[at:at + 1])
                    time.sleep(0.05)
            except OSError:
                pass
            self.close_connection = True
        elif kind == "truncated" or kind == "truncated-once" and self.count(digest) == 1:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:half])
            self.hang_up()
        elif kind == "no-range" and self.count(digest) == 1:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:half])
            self.hang_up()
        elif kind == "no-range":
            self.answer(200, data)
        elif kind == "other-range" and start:
            self.answer(206, data[:half], Content_Range=f"bytes 0-{half - 1}/{len(data)}")
        elif kind == "other-range":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:half])
            self.hang_up()
        elif kind == "redirected" and not self.path.startswith("/elsewhere/"):
            self.answer(307, b"", Location=f"{self.own_url().replace('127.0.0.1', 'localhost')}/elsewhere/{urllib.parse.quote(repository, safe='')}@{digest}")
        else:
            return False
        return True

    def ranged(self, data):
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if found and int(found[1]) < len(data):
            start = int(found[1])
            return self.answer(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
        return self.answer(200, data, Content_Type="application/octet-stream")

    # --- pushes ---

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            out = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                out += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return out
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self):
        self.note()
        body, url = self.read_body(), urllib.parse.urlsplit(self.path)
        if url.path == "/token":
            return self.token({}, urllib.parse.parse_qs(body.decode()))
        found = re.fullmatch(r"/v2/(.+)/blobs/uploads/", url.path)
        if not found or not self.may(found[1]):
            return None if found else self.answer(404)
        name = f"upload-{self.count('upload')}"
        self.server.uploads[name] = bytearray()
        extra = {"OCI_Chunk_Min_Length": "65536"} if found[1].startswith("chunked") else {}
        return self.answer(202, b"", Location=f"/v2/{found[1]}/blobs/uploads/{name}?state=0", Range="0-0", **extra)

    def upload_status(self):
        """GET of an upload: how far it is."""
        name = urllib.parse.urlsplit(self.path).path.rsplit("/", 1)[1]
        upload = self.server.uploads.get(name)
        if upload is None:
            return self.answer(404)
        return self.answer(204, b"", Location=urllib.parse.urlsplit(self.path).path, Range=f"0-{max(len(upload) - 1, 0)}")

    def do_PATCH(self):
        self.note()
        body, name = self.read_body(), urllib.parse.urlsplit(self.path).path.rsplit("/", 1)[1]
        upload = self.server.uploads.get(name)
        begin = re.match(r"(\d+)-(\d+)", self.headers.get("Content-Range", ""))
        if upload is None or not begin or int(begin[1]) != len(upload) or int(begin[2]) - int(begin[1]) + 1 != len(body):
            return self.answer(416)
        if self.path.startswith("/v2/chunked-break") and self.count(name) == 2:
            upload += body[:len(body) // 2]
            return self.hang_up()
        upload += body
        base = urllib.parse.urlsplit(self.path).path
        return self.answer(202, b"", Location=f"{base}?state={len(upload)}", Range=f"0-{len(upload) - 1}")

    def do_PUT(self):
        self.note()
        body, url = self.read_body(), urllib.parse.urlsplit(self.path)
        found = re.fullmatch(r"/v2/(.+)/(blobs/uploads|manifests)/([^/]+)", url.path)
        if not found or not self.may(found[1]):
            return None if found else self.answer(404)
        content = self.content(found[1])
        if found[2] == "manifests":
            data = body
            content.manifest(data, self.headers["Content-Type"], None if ":" in found[3] else found[3])
            answered = digest_of(data + b"x") if found[1].startswith("refiled") else digest_of(data)
            return self.answer(201, b"", Location=url.path, Docker_Content_Digest=answered)
        if found[1].startswith("no-monolith") and body and len(body) > 65536:
            return self.answer(413, b"")
        if found[1].startswith("push-500"):
            return self.answer(500, b"")
        upload = self.server.uploads.get(found[3])
        if upload is None:
            return self.error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        upload += body
        wanted = urllib.parse.parse_qs(url.query).get("digest", [""])[0]
        if digest_of(bytes(upload)) != wanted:
            return self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        content.blob(bytes(upload))
        return self.answer(201, b"", Location=f"/v2/{found[1]}/blobs/{wanted}", Docker_Content_Digest=wanted)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, options):
        super().__init__((options.get("address", "127.0.0.1"), options["port"]), Handler)
        self.lock = threading.Lock()
        self.log = open(options["directory"] + "/requests.log", "a", encoding="utf-8")
        self.counts, self.repositories, self.uploads, self.tokens = {}, {}, {}, {}
        self.token_uses, self.token_needed, self.post_only = options.get("token_uses", 1000), options.get("token_needed", False), options.get("post_only", False)
        self.secure = "cert" in options
        if self.secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(options["cert"], options["key"])
            if options.get("client_ca"):
                context.load_verify_locations(options["client_ca"])
                context.verify_mode = ssl.CERT_REQUIRED
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request, client_address):
        pass


class LyingRegistry:
    """The program above in `netns`."""
    def __init__(self, directory, netns, port, **options):
        from harness.shell import wait_for
        self.directory, self.address = str(directory), f"127.0.0.1:{port}"
        os.makedirs(self.directory, exist_ok=True)
        ready = self.directory + "/ready"
        if os.path.exists(ready):
            os.unlink(ready)
        options = {"directory": self.directory, "port": port, **options}
        self.log = open(self.directory + "/stderr.log", "ab")
        self.process = subprocess.Popen(netns.enter(["/usr/bin/python3", __file__, json.dumps(options)]), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, start_new_session=True)
        wait_for(lambda: os.path.exists(ready), "the lying registry listens", 20, 0.02)

    def requests(self, contains="", method=None):
        with open(self.directory + "/requests.log", encoding="utf-8") as file:
            found = [json.loads(line) for line in file if line.endswith("\n")]
        return [r for r in found if contains in r["path"] and method in (None, r["method"])]

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def main():
    options = json.loads(sys.argv[1])
    server = Server(options)
    with open(options["directory"] + "/ready", "w", encoding="ascii"):
        pass
    server.serve_forever()


if __name__ == "__main__":
    main()
