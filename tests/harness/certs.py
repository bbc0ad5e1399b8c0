# SPDX-License-Identifier: Apache-2.0
"""Authorities and certificates, made with the openssl program."""
import os
import tempfile

from harness.shell import run

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    def __init__(self, directory, name):
        os.makedirs(directory, exist_ok=True)
        self.directory, self.name = str(directory), name
        self.pem, self.key = f"{directory}/{name}.pem", f"{directory}/{name}-key.pem"
        run(["openssl", "req", "-x509", *KEY, "-keyout", self.key, "-out", self.pem, "-days", "30", "-subj", f"/CN={name}"])

    def issue(self, common_name, usage, names="DNS:localhost,IP:127.0.0.1", days=30):
        """A directory as Docker's client has it: ca.pem, cert.pem, key.pem."""
        home = tempfile.mkdtemp(prefix=f"{self.name}-{common_name}-", dir=self.directory)
        run(["openssl", "req", *KEY, "-keyout", home + "/key.pem", "-out", home + "/csr", "-subj", f"/CN={common_name}"])
        with open(home + "/ext", "w", encoding="ascii") as file:
            file.write(f"subjectAltName={names}\nextendedKeyUsage={usage}\n")
        run(["openssl", "x509", "-req", "-in", home + "/csr", "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial", "-days", str(days),
             "-extfile", home + "/ext", "-out", home + "/cert.pem"])
        with open(self.pem, "rb") as source, open(home + "/ca.pem", "wb") as copy:
            copy.write(source.read())
        return home


def server_flags(home, ca=None, verify=True):
    return [*(["--tlsverify", "--tlscacert", ca or home + "/ca.pem"] if verify else ["--tls"]), "--tlscert", home + "/cert.pem", "--tlskey", home + "/key.pem"]
