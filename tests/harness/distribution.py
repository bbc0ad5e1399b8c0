# SPDX-License-Identifier: Apache-2.0
"""Requests to a registry inside a network namespace, as the distribution specification has them."""
import base64
import http.client
import json
import socket
import ssl

from harness.sinks import in_netns
from harness.store import sha256

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"


class Answer:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The first error's code; every error has the specification's form."""
        assert self.headers["Content-Type"] == "application/json", self
        return self.json["errors"][0]["code"]

    def __repr__(self):
        return f"HTTP {self.status} {dict(self.headers)} {self.body[:1000]!r}"


class Distribution:
    def __init__(self, netns, port, user=None, ca=None):
        self.netns, self.port, self.user, self.ca = netns, port, user, ca

    def connect(self):
        sock = in_netns(self.netns, lambda: socket.create_connection(("127.0.0.1", self.port), timeout=30))
        if self.ca:
            sock = ssl.create_default_context(cafile=str(self.ca)).wrap_socket(sock, server_hostname="localhost")
        return sock

    def __call__(self, method, path, body=None, **headers):
        """`headers` by names with underscores: Content_Type="..."."""
        connection = http.client.HTTPConnection("localhost", self.port, timeout=30)
        connection.sock = self.connect()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.user:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self.user).encode()).decode()
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()

    def push_blob(self, name, data):
        begun = self("POST", f"/v2/{name}/blobs/uploads/")
        assert begun.status == 202, begun
        done = self("PUT", begun.headers["Location"] + "?digest=" + sha256(data), data, Content_Type="application/octet-stream")
        assert done.status == 201 and done.headers["Location"] == f"/v2/{name}/blobs/{sha256(data)}", done
        return sha256(data)

    def push_manifest(self, name, reference, document, media_type=OCI_MANIFEST):
        body = json.dumps(document).encode()
        done = self("PUT", f"/v2/{name}/manifests/{reference or sha256(body)}", body, Content_Type=media_type)
        assert done.status == 201, done
        assert done.headers["Docker-Content-Digest"] == sha256(body)
        return sha256(body), done

    def artifact(self, name, reference, content=b"some bytes", **more):
        """Pushes an artifact: its digest, and the manifest."""
        self.push_blob(name, b"{}")
        blob = self.push_blob(name, content)
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": OCI_EMPTY, "digest": sha256(b"{}"), "size": 2},
                    "artifactType": "application/vnd.test", "layers": [{"mediaType": "text/plain", "digest": blob, "size": len(content)}], **more}
        return self.push_manifest(name, reference, document)[0], document
