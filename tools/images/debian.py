# SPDX-License-Identifier: Apache-2.0
"""Images from Debian packages: `debian` is mmdebstrap's minbase, `nginx` one layer on top of it. Packages
come from wherever this machine's own apt gets them."""
import os
import shutil
import stat
import subprocess
import tarfile

import archive


def run(argv, **options):
    """A command whose output appears only when it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, stdin=subprocess.DEVNULL, **options)
    if done.returncode:
        raise RuntimeError(f"'{' '.join(argv)}' failed with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def debian_sources():
    """The machine's own Debian sources as one-line entries, with the release's code name."""
    out = run(["apt-get", "indextargets", "--format", "$(ORIGIN)\t$(REPO_URI)\t$(RELEASE)\t$(CODENAME)\t$(COMPONENT)", "Created-By: Packages"])
    rows = sorted({tuple(line.split("\t")) for line in out.splitlines()})
    rows = [row for row in rows if row[0] == "Debian" and row[4] == "main"]
    if not rows:
        raise RuntimeError("this machine's apt has no Debian source with component main")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    codename = min((row[3] for row in rows), key=len)
    return codename, [f"deb [signed-by={keyring}] {uri} {release} main" for _, uri, release, _, _ in rows]


def build_root(tar_path):
    """The minbase tar, without documentation and package lists."""
    codename, sources = debian_sources()
    proxy = [f"--aptopt={line}" for line in run(["apt-config", "dump"]).splitlines() if line.startswith(("Acquire::http::Proxy", "Acquire::Check"))]
    environment = dict(os.environ, SOURCE_DATE_EPOCH=str(archive.EPOCH), LC_ALL="C.UTF-8")
    run(["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar",
         "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
         *proxy, codename, tar_path + ".tmp", *sources], env=environment)
    os.rename(tar_path + ".tmp", tar_path)


def build_debian(path, root_tar):
    if not os.path.exists(root_tar):
        build_root(root_tar)
    return archive.write_archive(path, ["debian:latest"], [root_tar], {"Cmd": ["bash"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
                                 ["mmdebstrap --variant=minbase", 'CMD ["bash"]'])


def overlay_layer(upper, file):
    """The upper directory of an overlay as a layer: whiteouts and opaque directories in the tar's form."""
    writer = archive.LayerWriter(file)
    inodes = {}
    for folder, dirs, files in os.walk(upper):
        dirs.sort()
        for name in sorted(dirs + files):
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, upper)
            status = os.lstat(path)
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                writer.regular(os.path.join(os.path.dirname(inside), ".wh." + name), b"")
                continue
            info = writer.tar.gettarinfo(path, inside)
            info.uname = info.gname = ""
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_ino in inodes:
                info.type, info.linkname, info.size = tarfile.LNKTYPE, inodes[status.st_ino], 0
            elif info.islnk():
                info.type, info.linkname, info.size = tarfile.REGTYPE, "", status.st_size
            inodes[status.st_ino] = inside
            if info.isreg():
                with open(path, "rb") as source:
                    writer.tar.addfile(info, source)
            else:
                writer.tar.addfile(info)
            if info.isdir():
                try:
                    opaque = os.getxattr(path, "trusted.overlay.opaque") == b"y"
                except OSError:
                    opaque = False
                if opaque:
                    writer.regular(inside + "/.wh..wh..opq", b"")
    writer.finish()


INSTALL = """
set -e
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q update
apt-get -q -y install --no-install-recommends nginx-light
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /usr/sbin/policy-rc.d /var/cache/ldconfig /var/cache/apt/*.bin
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
echo '<h1>it works</h1>' > /var/www/html/index.html
"""


def build_nginx(path, root_tar, scratch):
    """Runs in a private mount namespace (see build.py): no mount shows on the host."""
    shutil.rmtree(scratch, ignore_errors=True)
    lower, upper, work, merged = (os.path.join(scratch, name) for name in ("lower", "upper", "work", "merged"))
    for folder in (lower, upper, work, merged):
        os.makedirs(folder)
    os.chmod(upper, 0o755)
    run(["tar", "-xpf", root_tar, "-C", lower])
    run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", merged])
    try:
        run(["mount", "-t", "proc", "proc", merged + "/proc"])
        run(["mount", "--bind", "/etc/resolv.conf", resolv_conf(merged)])
        run(["chroot", merged, "sh", "-c", INSTALL])
    finally:
        for folder in ("/etc/resolv.conf", "/proc", ""):
            subprocess.run(["umount", merged + folder], stderr=subprocess.DEVNULL, check=False)
    layer = os.path.join(scratch, "layer.tar")
    with open(layer, "wb") as file:
        overlay_layer(upper, file)
    image = archive.write_archive(path, ["nginx:latest"], [root_tar, layer],
                                  {"Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT",
                                   "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
                                  ["mmdebstrap --variant=minbase", "RUN apt-get install nginx-light", "EXPOSE 80", 'CMD ["nginx", "-g", "daemon off;"]'])
    shutil.rmtree(scratch)
    return image


def resolv_conf(root):
    path = root + "/etc/resolv.conf"
    if not os.path.exists(path):
        with open(path, "w", encoding="ascii"):
            pass
    return path
