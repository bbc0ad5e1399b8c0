#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A registry that counts what it sends and stops where it is told. Run as a program inside a network namespace;
CountingRegistry starts it, puts images into it and reads its books.

Control is a file, read at every request: {"limits": {digest: bytes}, "stall": bool}. A blob with a limit is sent up to that
byte, whatever range was asked for; then the connection ends, or stays silent with "stall"."""
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OCI = "application/vnd.oci.image."


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def log_message(self, *_):
        pass

    def control(self):
        try:
            with open(self.server.directory + "/control.json", encoding="ascii") as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def note(self, kind, digest, **facts):
        with self.server.lock:
            self.server.log.write(json.dumps({"kind": kind, "digest": digest, **facts}) + "\n")
            self.server.log.flush()

    def do_GET(self):
        if self.path == "/v2/":
            return self.send(200, b"{}")
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", self.path)
        path = found and f"{self.server.directory}/{found[2]}/{found[3].replace('/', '_')}"
        if not found or not os.path.exists(path):
            return self.send(404, json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]}).encode())
        with open(path, "rb") as file:
            data = file.read()
        if found[2] == "manifests":
            self.note("manifest", found[3])
            return self.send(200, data, **{"Content-Type": json.loads(data)["mediaType"], "Docker-Content-Digest": digest_of(data)})
        return self.blob(found[3], data)

    do_HEAD = do_GET

    def send(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def blob(self, digest, data):
        begin = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
        control = self.control()
        end = min(len(data), control.get("limits", {}).get(digest, len(data)))
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = 0
        try:
            while begin + sent < end:
                piece = data[begin + sent:min(end, begin + sent + 65536)]
                self.wfile.write(piece)
                sent += len(piece)
        except OSError:
            pass
        self.note("blob", digest, begin=begin, sent=sent)
        if end < len(data):
            self.close_connection = True
            if control.get("stall"):
                try:
                    self.connection.settimeout(120)
                    while self.connection.recv(4096):
                        pass
                except OSError:
                    pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, directory, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.directory, self.lock = directory, threading.Lock()
        self.log = open(directory + "/books", "a", encoding="ascii")

    def handle_error(self, request, client_address):
        pass


class CountingRegistry:
    """The program above in `netns`."""
    def __init__(self, directory, netns, port):
        from harness.shell import wait_for
        self.directory, self.address = str(directory), f"127.0.0.1:{port}"
        for name in ("manifests", "blobs"):
            os.makedirs(f"{self.directory}/{name}", exist_ok=True)
        self.process = subprocess.Popen(netns.enter(["/usr/bin/python3", __file__, self.directory, str(port)]), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: os.path.exists(self.directory + "/ready"), "the counting registry listens", 20, 0.02)

    def put(self, kind, name, data):
        with open(f"{self.directory}/{kind}/{name}", "wb") as file:
            file.write(data)
        return name

    def add_image(self, repository, layers, tag="1", config=None):
        """`layers`: tars, or (bytes as stored, media type, tar). The digests of the stored layers, base first."""
        layers = [layer if isinstance(layer, tuple) else (gzip.compress(layer, 1, mtime=0), OCI + "layer.v1.tar+gzip", layer) for layer in layers]
        document = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], **(config or {}), "Labels": {"for": repository}},
                               "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for _, _, tar in layers]}}).encode()
        self.put("blobs", digest_of(document), document)
        manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                    "config": {"mediaType": OCI + "config.v1+json", "digest": digest_of(document), "size": len(document)},
                    "layers": [{"mediaType": kind, "digest": self.put("blobs", digest_of(data), data), "size": len(data)} for data, kind, _ in layers]}
        self.put("manifests", tag, json.dumps(manifest).encode())
        return [layer["digest"] for layer in manifest["layers"]]

    def control(self, **words):
        with open(self.directory + "/control.new", "w", encoding="ascii") as file:
            json.dump(words, file)
        os.rename(self.directory + "/control.new", self.directory + "/control.json")

    def size(self, digest):
        return os.path.getsize(f"{self.directory}/blobs/{digest}")

    def books(self, digest):
        """What was sent of a blob: [{begin, sent}] by request that has ended."""
        with open(self.directory + "/books", encoding="ascii") as file:
            entries = [json.loads(line) for line in file if line.endswith("\n")]
        return [e for e in entries if e["digest"] == digest]

    def sent(self, digest):
        return sum(entry["sent"] for entry in self.books(digest))

    def stop(self):
        self.process.kill()
        self.process.wait()


def main():
    directory, port = sys.argv[1:]
    server = Server(directory, int(port))
    with open(directory + "/ready", "w", encoding="ascii"):
        pass
    server.serve_forever()


if __name__ == "__main__":
    main()
