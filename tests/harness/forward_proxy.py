#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A forward HTTP proxy for tests: CONNECT and whole addresses, basic authentication, and names that only it knows.
usage: forward_proxy.py ADDRESS PORT USER:PASSWORD [NAME=ADDRESS...]"""
import base64
import socket
import sys
import threading
import urllib.parse


def read_head(peer):
    head = b""
    while b"\r\n\r\n" not in head:
        piece = peer.recv(65536)
        if not piece:
            return head, b""
        head += piece
    head, _, rest = head.partition(b"\r\n\r\n")
    return head, rest


def pump(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def handle(peer, login, names):
    head, rest = read_head(peer)
    if not head:
        return peer.close()
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ")
    print(method, target, flush=True)
    wanted = "proxy-authorization: basic " + base64.b64encode(login.encode()).decode().lower()
    if wanted not in [line.lower() for line in lines]:
        peer.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return peer.close()
    if method == "CONNECT":
        host, port = target.rsplit(":", 1)
        path = None
    else:
        url = urllib.parse.urlsplit(target)
        host, port, path = url.hostname, url.port or 80, target[target.index("/", 8):]
    far = socket.create_connection((names.get(host, host), int(port)))
    if path is None:
        peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        far.sendall(rest)
    else:
        kept = [line for line in lines[1:] if not line.lower().startswith(("proxy-", "connection:"))]
        far.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]).encode("latin-1") + rest)
    threading.Thread(target=pump, args=(peer, far), daemon=True).start()
    return pump(far, peer)


def main():
    address, port, login = sys.argv[1:4]
    names = dict(pair.split("=", 1) for pair in sys.argv[4:])
    listener = socket.create_server((address, int(port)))
    print("listening", flush=True)
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=handle, args=(peer, login, names), daemon=True).start()


if __name__ == "__main__":
    main()
