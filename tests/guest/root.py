# SPDX-License-Identifier: Apache-2.0
"""The guest's root directory: busybox, the programs with the libraries they load, the kernel's overlay
module, images and the checks. Built new every time: it is a fraction of a second."""
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TREE, "tools/images"))
import archive  # noqa: E402
import busybox  # noqa: E402

PROGRAMS = ["caissond", "caisson", "caisson-monitor", "caisson-init", "caisson-oci", "caisson-dns"]
MODULES = ["fs/overlayfs/overlay", "drivers/net/veth", "drivers/net/dummy", "drivers/net/macvlan", "drivers/net/ipvlan/ipvlan",
           "net/8021q/8021q"]
DIRECTORIES = ["bin", "dev", "etc", "images", "modules", "proc", "root", "run", "sys", "tmp", "var"]
# More layers than one fsconfig(2) string holds the names of: the engine has to fall back to mount(2).
MANY_LAYERS = 24


def libraries(program):
    """The shared objects that the program loads, the loader included."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    missing = re.search(r"(\S+) => not found", done.stdout)
    if missing:
        raise RuntimeError(f"the library '{missing[1]}' of '{program}' is missing")
    return set(re.findall(r"(/\S+) \(0x", done.stdout))


def copy(source, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy(source, target)


def copy_modules(root, modules):
    """The modules with those that they need, and the order in which to load them."""
    with open(modules + "/modules.dep", encoding="ascii") as file:
        needs = dict(line.rstrip("\n").split(":", 1) for line in file)
    order = []

    def add(name):
        for needed in reversed(needs.get(name, "").split()):
            add(needed)
        if name not in order:
            order.append(name)
    for name in MODULES:
        path = f"kernel/{name}.ko"
        if path not in needs:
            raise RuntimeError(f"no module '{name}' below '{modules}'")
        add(path)
    for name in order:
        copy(f"{modules}/{name}", f"{root}/modules/{os.path.basename(name)}")
    with open(root + "/modules/order", "w", encoding="ascii") as file:
        file.writelines(os.path.basename(name) + "\n" for name in order)


def layered_image(path):
    """An image of busybox and layers that each add one file, and take away the one before."""
    layers = [busybox.layer()]
    for number in range(1, MANY_LAYERS):
        writer = archive.LayerWriter()
        writer.directory("layers")
        writer.regular(f"layers/{number}", f"{number}\n")
        if number > 1:
            writer.regular(f"layers/.wh.{number - 1}", "")
        layers.append(writer.finish())
    archive.write_archive(path, ["layered:latest"], layers, {"Cmd": ["sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
                          ["layer"] * len(layers))


def build(root, programs, images, modules):
    """Fills `root`; `programs`, `images` and `modules` are where those come from."""
    shutil.rmtree(root, ignore_errors=True)
    for name in DIRECTORIES:
        os.makedirs(os.path.join(root, name))
    wanted = set()
    for name in PROGRAMS:
        source = os.path.join(programs, name)
        if not os.path.exists(source):
            raise RuntimeError(f"'{source}' is missing: ./dev build")
        copy(source, f"{root}/bin/{name}")
        wanted |= libraries(source)
    for library in wanted:
        copy(library, root + library)
    copy("/usr/bin/busybox", root + "/bin/busybox")
    for applet in subprocess.run(["/usr/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            os.symlink("busybox", f"{root}/bin/{applet}")
    copy_modules(root, max(glob.glob(modules + "/*")))
    copy(f"{images}/busybox.tar", f"{root}/images/busybox.tar")
    layered_image(f"{root}/images/layered.tar")
    for name, text in (("passwd", busybox.PASSWD), ("group", busybox.GROUP), ("hosts", "127.0.0.1 localhost\n"), ("resolv.conf", ""),
                       ("hostname", "guest\n")):
        with open(f"{root}/etc/{name}", "w", encoding="ascii") as file:
            file.write(text)
    for name in ("init", "lib.sh", "checks.sh", "runtime_checks.sh", "network_checks.sh"):
        copy(f"{HERE}/{name}", f"{root}/{name}")
    os.chmod(root + "/init", 0o755)
