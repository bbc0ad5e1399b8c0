#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the checks are made of. Every check prints `ok NAME` or `not ok NAME: detail`.

TOP=/sys/fs/cgroup

one_line() { tr '\n\r' '  ' | cut -c1-400; }
ok() { echo "ok $1"; }
failed=
not_ok() {
  failed=1
  echo "not ok $1: $(echo "$2" | one_line)"
}
# step COMMAND...: one that must succeed for the checks around it to mean something.
step() { step_out=$("$@" 2>&1) || not_ok step "$(echo "$*" | one_line): $step_out"; }
# is NAME EXPECTED GOT
is() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "expected '$2', got '$3'"; fi; }
# has NAME PART TEXT
has() { case "$3" in *"$2"*) ok "$1" ;; *) not_ok "$1" "no '$2' in '$3'" ;; esac; }
# The pids of the processes whose command line is the given one.
pids_of() { ps | sed -n "s/^ *\([0-9]*\) .* $1\$/\1/p"; }
# soon SECONDS COMMAND...: until the command succeeds
soon() {
  soon_left=$(($1 * 20))
  shift
  until "$@" >/dev/null 2>&1; do
    soon_left=$((soon_left - 1))
    [ "$soon_left" -gt 0 ] || return 1
    sleep 0.05
  done
}

# --- the runtime alone ------------------------------------------------------------------------------------

: "${RUNTIME:=caisson-oci}"
STATE=/run/runtime
BUNDLES=/tmp/bundles
mkdir -p $STATE $BUNDLES/rootfs/bin $BUNDLES/rootfs/tmp
cp /bin/busybox $BUNDLES/rootfs/bin/
for applet in sh cat sleep echo ls grep mknod head tail id mkdir touch true; do ln -sf busybox $BUNDLES/rootfs/bin/$applet; done

rt() { $RUNTIME --root $STATE "$@" 2>&1; }
# bundle NAME CGROUPSPATH RESOURCES [SHELL-COMMAND [NAMESPACES]]: writes the bundle's config.json
bundle() {
  mkdir -p "$BUNDLES/$1"
  cat >"$BUNDLES/$1/config.json" <<JSON
{"ociVersion": "1.0.2", "hostname": "$1", "root": {"path": "$BUNDLES/rootfs", "readonly": false},
 "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "${4:-sleep 300}"], "cwd": "/", "env": ["PATH=/bin"], "noNewPrivileges": true,
  "capabilities": {"bounding": ["CAP_MKNOD"], "effective": ["CAP_MKNOD"], "permitted": ["CAP_MKNOD"]}},
 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
  {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]}],
 "linux": {"cgroupsPath": "$2", "resources": {$3},
  "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}${5-, {\"type\": \"cgroup\"\}}]}}
JSON
}
# started NAME: create and start, in the background
started() {
  # Into a file: the container keeps its output, and with a pipe we would wait for its end.
  rt create --bundle "$BUNDLES/$1" --pid-file "$BUNDLES/$1/pid" "$1" </dev/null >"$BUNDLES/$1/out" 2>&1 || not_ok step "create $1: $(cat "$BUNDLES/$1/out")"
  step rt start "$1"
}
status() { rt state "$1" | sed -n 's/.*"status": *"\([a-z]*\)".*/\1/p'; }
ended() { [ "$(status "$1")" = stopped ]; }
# refused NAME-OF-CHECK PART BUNDLE: run fails, says PART and leaves no group
refused() {
  refused_out=$(rt run --bundle "$BUNDLES/$3" "$3" </dev/null)
  refused_code=$?
  if [ "$refused_code" = 0 ]; then not_ok "$1" "it ran: $refused_out"; else has "$1" "$2" "$refused_out"; fi
  rt delete --force "$3" >/dev/null
  is "$1-leaves-nothing" "" "$(find $TOP -type d -name "$3")"
}
