#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What must hold on a host with cgroup v2 alone. Read by init inside the guest; every check prints
# `ok NAME` or `not ok NAME: detail`.

run() { caisson run --network none "$@" 2>&1; }
inspect() { caisson inspect -f "$2" "$1" 2>&1; }
# The container's directory, by its full id.
group_of() { find $TOP -type d -name "*$(inspect "$1" '{{.Id}}')*" | head -n 1; }

# --- the engine ---------------------------------------------------------------------------------------
info=$(caisson info 2>&1)
has info-cgroup-version "Cgroup Version: 2" "$info"
has info-cgroup-driver "Cgroup Driver: cgroupfs" "$info"
loaded=$(caisson load -q -i /images/busybox.tar 2>&1 && caisson load -q -i /images/layered.tar 2>&1)
has images-load "layered:latest" "$loaded"

# --- limits -------------------------------------------------------------------------------------------
seen=$(run --rm -m 32m --memory-swap 32m --memory-reservation 16m --cpus 0.5 --cpu-shares 512 --pids-limit 20 busybox \
  sh -c 'cd /sys/fs/cgroup && for f in memory.max memory.swap.max memory.low cpu.max cpu.weight pids.max; do echo "$f=$(cat $f)"; done')
for want in memory.max=33554432 memory.swap.max=0 memory.low=16777216 "cpu.max=50000 100000" cpu.weight=20 pids.max=20; do
  has "limit-${want%%=*}" "$want" "$seen"
done
is default-no-limits "max max max" "$(run --rm busybox sh -c 'cd /sys/fs/cgroup && echo $(cat memory.max memory.swap.max pids.max)')"

hog=$(run --name hog -m 32m --memory-swap 32m busybox tail /dev/zero; echo "rc=$?")
has memory-hog-exits-137 "rc=137" "$hog"
is memory-hog-inspect "true 137" "$(inspect hog '{{.State.OOMKilled}} {{.State.ExitCode}}')"
step caisson rm -f hog
# The hog is a child: the container ends as it likes, but what happened is on record.
run --name childhog -m 32m --memory-swap 32m busybox sh -c 'tail /dev/zero; exit 3' >/dev/null
is memory-hog-child-inspect "true 3" "$(inspect childhog '{{.State.OOMKilled}} {{.State.ExitCode}}')"
step caisson rm -f childhog
step run -d --name byhand -m 32m busybox sleep 60
step caisson kill byhand
step caisson wait byhand
is killed-by-hand-is-not-oom "false 137" "$(inspect byhand '{{.State.OOMKilled}} {{.State.ExitCode}}')"
step caisson rm -f byhand

bomb=$(run --rm --pids-limit 20 busybox sh -c 'i=0; while [ $i -lt 60 ]; do sleep 30 & i=$((i+1)); done; echo all forked'; echo "rc=$?")
case "$bomb" in
  *"all forked"* | *"rc=0"*) not_ok pids-limit-stops-forks "$bomb" ;;
  *"can't fork"*) ok pids-limit-stops-forks ;;
  *) not_ok pids-limit-stops-forks "$bomb" ;;
esac

# This kernel has no cpuset: the limit is taken out with a warning, as Docker does, and nothing stays behind.
has missing-controller-is-named "kernel does not support cpuset" "$(run --rm --cpuset-cpus 0 busybox true)"
is missing-controller-leaves-nothing "" "$(find $TOP -mindepth 2 -type d)$(caisson ps -aq)"

# It has no bridges either.
has missing-bridges-are-named "Operation not supported" "$(caisson run --rm busybox true 2>&1)"
is missing-bridges-leave-nothing "" "$(find $TOP -mindepth 2 -type d)$(caisson ps -aq)"

# --- the namespace and what is seen of the tree --------------------------------------------------------
is cgroup-namespace "0::/" "$(run --rm busybox cat /proc/self/cgroup)"
seen=$(run --rm busybox sh -c 'mkdir /sys/fs/cgroup/x; echo 1 >/sys/fs/cgroup/memory.max; grep " /sys/fs/cgroup " /proc/mounts; ls /sys/fs/cgroup | wc -l')
has cgroup-mount-is-cgroup2 "cgroup2 ro," "$seen"
has cgroup-mount-is-read-only "Read-only file system" "$seen"
seen=$(run --rm --cgroupns host busybox cat /proc/self/cgroup)
has cgroup-namespace-of-host "0::/caisson" "$seen"
seen=$(run --rm --cgroup-parent /mine --cgroupns host busybox cat /proc/self/cgroup)
has cgroup-parent "0::/mine/" "$seen"

# --- files of the group by their names -----------------------------------------------------------------
seen=$(run --rm --cgroup-conf memory.high=50M --cgroup-conf memory.min=4M --cgroup-conf memory.low=8M --cgroup-conf pids.max=33 busybox \
  sh -c 'cd /sys/fs/cgroup && for f in memory.high memory.min memory.low pids.max; do echo "$f=$(cat $f)"; done')
for want in memory.high=52428800 memory.min=4194304 memory.low=8388608 pids.max=33; do has "cgroup-conf-${want%%=*}" "$want" "$seen"; done
has cgroup-conf-refused "no file of a controller" "$(run --rm --cgroup-conf ../memory.max=1 busybox true)"
has cgroup-conf-unknown "nonsense" "$(run --rm --cgroup-conf nonsense.max=1 busybox true)"
is cgroup-conf-leaves-nothing "" "$(find $TOP -mindepth 2 -type d)$(caisson ps -q)"

# --- device rules (eBPF) -------------------------------------------------------------------------------
# The node's number is free, so a call that the filter lets through ends in ENXIO, not in EPERM.
seen=$(run --rm busybox sh -c 'mknod /tmp/b b 8 0; echo "mknod=$?"; mknod /tmp/c c 1 11; head -c 1 /tmp/c; echo "read=$?"; \
  mknod /tmp/null c 1 3 && echo hello >/tmp/null && echo null-works; : >/dev/kmsg' 2>&1)
has devices-read-refused "/tmp/c: Operation not permitted" "$seen"
has devices-null-works "null-works" "$seen"
seen=$(run --rm busybox sh -c 'mknod /tmp/b b 8 0 && head -c 1 /tmp/b' 2>&1)
has devices-block-open-refused "/tmp/b: Operation not permitted" "$seen"
seen=$(run --rm --privileged busybox sh -c 'mknod /tmp/b b 8 0 && head -c 1 /tmp/b' 2>&1)
has devices-privileged-not-filtered "/tmp/b: No such device" "$seen"
seen=$(run --rm --device /dev/kmsg:/dev/log0:w busybox sh -c 'head -c 1 /dev/log0; echo "<7>x" >/dev/log0 && echo written' 2>&1)
has devices-given-write-only "/dev/log0: Operation not permitted" "$seen"
has devices-given-is-written "written" "$seen"

# --- a running container -------------------------------------------------------------------------------
step run -d --name long -m 64m --pids-limit 50 busybox sh -c 'sleep 300 & exec sleep 310'
group=$(group_of long)
if [ -d "$group" ]; then ok cgroup-directory; else not_ok cgroup-directory "none for $(inspect long '{{.Id}}'): $(find $TOP -type d)"; fi
is cgroup-is-below-the-engines "$TOP/caisson" "$(echo "$group" | cut -c1-22)"
pid=$(inspect long '{{.State.Pid}}')
has cgroup-has-the-process "$pid" "$(cat "$group/cgroup.procs" 2>&1)"
is exec-joins-the-cgroup "0::/" "$(caisson exec long cat /proc/self/cgroup 2>&1)"
caisson exec -d long sleep 301
exec_pid=
find_exec() { exec_pid=$(pids_of 'sleep 301'); [ -n "$exec_pid" ]; }
soon 5 find_exec
is exec-is-in-the-cgroup "0::${group#$TOP}" "$(cat "/proc/$exec_pid/cgroup" 2>&1)"
if grep -qx "$exec_pid" "$group/cgroup.procs" 2>/dev/null; then ok exec-is-counted; else not_ok exec-is-counted "$(cat "$group/cgroup.procs")"; fi

has top-lists-all "sleep 301" "$(caisson top long 2>&1)"

step caisson pause long
is pause-freezes "1" "$(cat "$group/cgroup.freeze" 2>&1)"
has pause-events "frozen 1" "$(cat "$group/cgroup.events" 2>&1)"
is pause-status "paused" "$(inspect long '{{.State.Status}}')"
step caisson unpause long
is unpause-thaws "0" "$(cat "$group/cgroup.freeze" 2>&1)"
is unpause-status "running" "$(inspect long '{{.State.Status}}')"

# A container that manages groups of its own (an engine in a container does): its top group may hold no
# processes then, and exec goes where its first process went.
step run -d --name nested --privileged --cgroupns private busybox sh -c 'set -e; cd /sys/fs/cgroup; mkdir init inner; echo 0 >init/cgroup.procs
  echo +pids >cgroup.subtree_control; sh -c "echo 0 >inner/cgroup.procs; exec sleep 320" & exec sleep 321'
group=$(group_of nested)
nested_ready() { grep -q . "$group/inner/cgroup.procs" && grep -q . "$group/init/cgroup.procs"; }
soon 5 nested_ready
is exec-beside-nested-groups "0::/init" "$(caisson exec nested cat /proc/self/cgroup 2>&1)"
step caisson rm -f nested
gone() { [ ! -e "$group" ]; }
if soon 3 gone; then ok nested-groups-are-removed; else not_ok nested-groups-are-removed "$(find "$group" -type d)"; fi
is nested-groups-leave-no-process "" "$(pids_of 'sleep 320')"

# --- ends ----------------------------------------------------------------------------------------------
kill -9 "$pid"
step caisson wait long
is kill-9-of-pid-1 "exited 137" "$(inspect long '{{.State.Status}} {{.State.ExitCode}}')"
if soon 3 gone; then ok kill-9-leaves-no-cgroup; else not_ok kill-9-leaves-no-cgroup "$group: $(cat "$group/cgroup.procs")"; fi
is kill-9-leaves-no-process "" "$(pids_of 'sleep 300'; pids_of 'sleep 301')"
step caisson rm long

# A container whose processes share no pid namespace with a dying PID 1: only the cgroup finds them all.
step run -d --name shared --pid host busybox sh -c 'sleep 302 & exec sleep 312'
group=$(group_of shared)
step caisson kill shared
step caisson wait shared
if soon 3 gone; then ok host-pids-leave-no-cgroup; else not_ok host-pids-leave-no-cgroup "$group: $(cat "$group/cgroup.procs")"; fi
is host-pids-leave-no-process "" "$(pids_of 'sleep 302')"
step caisson rm -f shared

step run -d --name forced busybox sleep 300
group=$(group_of forced)
step caisson pause forced
step caisson rm -f forced
if soon 3 gone; then ok rm-of-paused-leaves-no-cgroup; else not_ok rm-of-paused-leaves-no-cgroup "$group"; fi

for code in 0 1 42 126 255; do
  run --rm busybox sh -c "exit $code" >/dev/null
  got="$got $?"
done
is exit-codes " 0 1 42 126 255" "$got"
run --rm busybox /no/such/program >/dev/null
is exit-code-of-no-program 127 $?
run --rm --init busybox sh -c 'exit 7' >/dev/null
is exit-code-with-init 7 $?
seen=$(caisson run --rm --network host busybox sh -c 'ip addr show lo && exit 3' 2>&1); code=$?
is exit-code-on-host-network 3 $code
has host-network "127.0.0.1/8" "$seen"

# --- root file systems on a kernel without `lowerdir+` --------------------------------------------------
is seccomp-is-on "2" "$(run --rm busybox sed -n 's/^Seccomp:[^0-9]*//p' /proc/self/status)"
is overlay-many-layers "23" "$(run --rm layered ls /layers)"
is overlay-is-written "23 new" "$(run --rm layered sh -c 'echo new >/layers/new; echo $(ls /layers)')"
is overlay-removal "" "$(run --rm layered sh -c 'rm /layers/23 && ls /layers')"

# --- the runtime alone --------------------------------------------------------------------------------
mkdir -p /tmp/bundle/rootfs/bin && cp /bin/busybox /tmp/bundle/rootfs/bin/ && caisson-oci spec -b /tmp/bundle
sed -i -e 's/"terminal": true/"terminal": false/' -e 's/"resources": {/"cgroupsPath": "\/oci\/one", &"memory": {"limit": 33554432}, "pids": {"limit": 20},/' \
  -e 's/"sh"$/"busybox", "sh", "-c", "cd \/sys\/fs\/cgroup; echo $(busybox cat memory.max pids.max \/proc\/self\/cgroup); exit 5"/' /tmp/bundle/config.json
seen=$(caisson-oci --root /run/oci run -b /tmp/bundle one 2>&1; echo "rc=$?")
is runtime-alone "33554432 20 0::/ rc=5" "$(echo $seen)"
is runtime-alone-leaves-no-cgroup "" "$(find $TOP -type d -name one)"

# --- engine away and back -----------------------------------------------------------------------------
step run -d --name survivor -m 32m busybox sleep 300
group=$(group_of survivor)
kill -9 "$engine"
wait "$engine" 2>/dev/null
caissond --data-root /var/data --exec-root /run/exec --host "$DOCKER_HOST" --debug >>/run/engine.log 2>&1 &
engine=$!
soon 5 caisson version
is restart-adopts-the-container "running" "$(inspect survivor '{{.State.Status}}')"
step caisson pause survivor
is restart-knows-the-cgroup "1" "$(cat "$group/cgroup.freeze" 2>&1)"
step caisson unpause survivor
step caisson rm -f survivor
if soon 3 gone; then ok restart-then-rm-leaves-no-cgroup; else not_ok restart-then-rm-leaves-no-cgroup "$group"; fi
is nothing-is-left "" "$(find $TOP -mindepth 2 -type d; caisson ps -a --format '{{.Names}} {{.Command}} {{.Status}}')"
