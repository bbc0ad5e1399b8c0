#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A registry that has nothing, begins every upload and never ends one: how many are under way at once is written down."""
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self):
        self.answer(200 if self.path == "/v2/" else 404)

    do_HEAD = do_GET

    def do_POST(self):
        self.answer(202, Location=self.path.split("?")[0].rstrip("/") + "/one", Range="0-0")

    def do_PATCH(self):
        server = self.server
        with server.lock:
            server.under_way += 1
            with open(server.directory + "/book", "a", encoding="ascii") as file:
                file.write(f"{server.under_way}\n")
        try:
            self.connection.settimeout(120)
            while self.connection.recv(65536):
                pass
        except OSError:
            pass
        with server.lock:
            server.under_way -= 1
        self.close_connection = True

    do_PUT = do_PATCH


class UploadCounter:
    """The program above in `netns`."""
    def __init__(self, directory, netns, port):
        from harness.shell import wait_for
        self.directory, self.address = str(directory), f"127.0.0.1:{port}"
        os.makedirs(self.directory)
        self.process = subprocess.Popen(netns.enter(["/usr/bin/python3", __file__, self.directory, str(port)]), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: os.path.exists(self.directory + "/ready"), "the upload counter listens", 20, 0.02)

    def most(self):
        """The most uploads that were under way at once."""
        try:
            with open(self.directory + "/book", encoding="ascii") as file:
                return max((int(line) for line in file if line.endswith("\n")), default=0)
        except OSError:
            return 0

    def stop(self):
        self.process.kill()
        self.process.wait()


def main():
    directory, port = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.daemon_threads, server.directory, server.lock, server.under_way = True, directory, threading.Lock(), 0
    with open(directory + "/ready", "w", encoding="ascii"):
        pass
    server.serve_forever()


if __name__ == "__main__":
    main()
