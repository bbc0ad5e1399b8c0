#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a runtime does with cgroup v2 when it is used alone. Read by init after checks.sh; RUNTIME is the
# program, so that the same checks can be run on a reference. The functions are those of lib.sh.

# --- every resource, read back ----------------------------------------------------------------------------
bundle all /rt/all '"memory": {"limit": 67108864, "reservation": 16777216, "swap": 100663296, "kernel": 1048576, "kernelTCP": 1048576,
   "checkBeforeUpdate": true, "useHierarchy": true},
  "cpu": {"shares": 512, "quota": 20000, "period": 50000, "burst": 10000}, "pids": {"limit": 50},
  "unified": {"memory.high": "50331648", "memory.oom.group": "1"}'
started all
group=$TOP/rt/all
for want in memory.max=67108864 memory.swap.max=33554432 memory.low=16777216 memory.high=50331648 memory.oom.group=1 cpu.weight=20 \
  "cpu.max=20000 50000" cpu.max.burst=10000 pids.max=50; do
  is "runtime-${want%%=*}" "${want#*=}" "$(cat "$group/${want%%=*}" 2>&1)"
done
is runtime-state running "$(status all)"
is runtime-pid-file "$(cat $group/cgroup.procs)" "$(cat $BUNDLES/all/pid)"

# --- update -------------------------------------------------------------------------------------------------
step rt update --memory 33554432 --memory-swap 50331648 --memory-reservation 8388608 --cpu-share 1024 --cpu-quota 30000 --cpu-period 60000 --pids-limit 30 all
for want in memory.max=33554432 memory.swap.max=16777216 memory.low=8388608 cpu.weight=39 "cpu.max=30000 60000" pids.max=30; do
  is "update-${want%%=*}" "${want#*=}" "$(cat "$group/${want%%=*}" 2>&1)"
done
is update-leaves-the-rest "50331648 10000" "$(cat $group/memory.high $group/cpu.max.burst | tr '\n' ' ' | sed 's/ $//')"
step rt update --memory -1 all
is update-unlimited-memory "max" "$(cat $group/memory.max)"
step rt update --pids-limit -1 all
is update-unlimited-pids "max" "$(cat $group/pids.max)"
echo '{"memory": {"limit": 41943040, "swap": 41943040}, "cpu": {"shares": 2, "quota": -1}}' >/tmp/update.json
step rt update --resources /tmp/update.json all
is update-from-file "41943040 0 1" "$(echo $(cat $group/memory.max $group/memory.swap.max $group/cpu.weight))"
has update-quota-off "max " "$(cat $group/cpu.max)"
echo '{"memory": {"limit": 4096, "checkBeforeUpdate": true}}' >/tmp/update.json
has update-checks-the-usage "rejecting memory limit 4096" "$(rt update --resources /tmp/update.json all)"
is update-refused-changes-nothing "41943040" "$(cat $group/memory.max)"
is update-keeps-it-running running "$(status all)"

# --- pause, exec, ps, events ----------------------------------------------------------------------------------
has exec-in-the-group "0::/" "$(rt exec all cat /proc/self/cgroup)"
step rt pause all
is runtime-paused "paused 1" "$(status all) $(cat $group/cgroup.freeze)"
has exec-in-a-paused-one "paused" "$(rt exec all true)"
step rt resume all
is runtime-resumed "running 0" "$(status all) $(cat $group/cgroup.freeze)"
has runtime-ps "sleep 300" "$(rt ps all)"
is runtime-ps-json "[$(cat $BUNDLES/all/pid)]" "$(rt ps --format json all | tr -d ' \n')"
stats=$(rt events --stats all | tr -d ' \n')
for want in '"type":"stats"' '"id":"all"' '"current":1' '"limit":41943040' '"usage":{' '"throttling":{' '"raw":{'; do
  has "stats-$(echo "$want" | tr -cd a-z)" "$want" "$stats"
done
step rt kill all KILL
soon 3 ended all || not_ok runtime-killed "$(status all)"
step rt delete all
is runtime-deleted "" "$(find $TOP/rt -type d -name all)"

# --- out of memory --------------------------------------------------------------------------------------------
bundle hog /rt/hog '"memory": {"limit": 16777216, "swap": 16777216}' 'while ! [ -e /tmp/go ]; do sleep 0.1; done; tail /dev/zero; sleep 300'
started hog
rt events hog >/tmp/events &
events=$!
sleep 0.5
touch $BUNDLES/rootfs/tmp/go
told() { grep -q '"oom"' /tmp/events; }
if soon 10 told; then ok events-oom; else not_ok events-oom "$(tail -n 3 /tmp/events)"; fi
step rt delete --force hog
gone() { ! kill -0 $events; }
if soon 5 gone; then ok events-end; else not_ok events-end "still there"; kill $events; fi
wait $events
rm -f $BUNDLES/rootfs/tmp/go

# --- devices ----------------------------------------------------------------------------------------------------
rules='"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw"}, {"allow": true, "type": "b", "access": "m"}]'
bundle dev /rt/dev "$rules" 'mknod /tmp/k c 1 11; echo k=$?; mknod /tmp/b b 7 0; echo b=$?; head -c 1 /tmp/b; mknod /dev/x c 10 1; head -c 1 /dev/x; echo x >/dev/null && echo null; head -c 1 /dev/zero >/dev/null && echo zero; rm -f /tmp/k /tmp/b'
seen=$(rt run --bundle $BUNDLES/dev dev </dev/null)
has device-block-mknod "b=0" "$seen"
has device-block-open-refused "/tmp/b: Operation not permitted" "$seen"
has device-char-open-refused "/dev/x: Operation not permitted" "$seen"
has device-defaults "null" "$seen"
has device-defaults-zero "zero" "$seen"

# --- namespaces and mounts of the tree ---------------------------------------------------------------------------
bundle view /rt/view '' 'cat /proc/self/cgroup; grep cgroup2 /proc/mounts; mkdir /sys/fs/cgroup/x || echo read-only; cat /sys/fs/cgroup/cgroup.procs'
seen=$(rt run --bundle $BUNDLES/view view </dev/null)
has cgroupns-view "0::/" "$seen"
has cgroupns-mount "/sys/fs/cgroup cgroup2 ro" "$seen"
has cgroupns-mount-read-only "read-only" "$seen"
bundle host /rt/host '' 'cat /proc/self/cgroup; grep cgroup /proc/mounts; ls /sys/fs/cgroup/memory.max' ''
seen=$(rt run --bundle $BUNDLES/host host </dev/null)
has without-cgroupns "0::/rt/host" "$seen"

# --- paths ------------------------------------------------------------------------------------------------------
bundle relative rel/at '' 'true'
sed -i 's/"cgroup"}/"network"}/' $BUNDLES/relative/config.json
sed -i 's/"true"\]/"cat \/proc\/self\/cgroup"]/' $BUNDLES/relative/config.json
has relative-path "rel/at" "$(rt run --bundle $BUNDLES/relative relative </dev/null)"
bundle nopath "" '' 'cat /proc/self/cgroup' ''
sed -i 's/"cgroupsPath": "", //' $BUNDLES/nopath/config.json
has no-path "nopath" "$(rt run --bundle $BUNDLES/nopath nopath </dev/null)"
mkdir -p $TOP/rt/there
bundle there /rt/there '' 'echo ran'
has existing-empty-group "ran" "$(rt run --bundle $BUNDLES/there there </dev/null)"
mkdir -p $TOP/rt/frozen
echo 1 >$TOP/rt/frozen/cgroup.freeze
bundle frozen /rt/frozen '' 'echo ran'
has existing-frozen-group "frozen" "$(rt run --bundle $BUNDLES/frozen frozen </dev/null)"
rt delete --force frozen >/dev/null
[ ! -d $TOP/rt/frozen ] || rmdir $TOP/rt/frozen
mkdir -p $TOP/rt/used
sleep 400 &
sleeper=$!
echo $sleeper >$TOP/rt/used/cgroup.procs
bundle used /rt/used '' 'echo ran'
has existing-used-group "not empty" "$(rt run --bundle $BUNDLES/used used </dev/null)"
rt delete --force used >/dev/null
if kill -0 $sleeper 2>/dev/null; then ok existing-used-group-is-spared; else not_ok existing-used-group-is-spared "killed"; fi
kill -9 $sleeper 2>/dev/null
wait $sleeper 2>/dev/null
rmdir $TOP/rt/used 2>/dev/null

# --- what cannot be ----------------------------------------------------------------------------------------------
bundle uslash /rt/uslash '"unified": {"../memory.max": "1"}'
refused unified-slash "unified resource" uslash
bundle unone /rt/unone '"unified": {"nonsense.max": "1"}'
refused unified-unknown-controller "nonsense" unone
bundle uform /rt/uform '"unified": {"nonsense": "1"}'
refused unified-form "nonsense" uform
bundle swap /rt/swap '"memory": {"limit": 33554432, "swap": 16777216}'
refused swap-below-memory "memory" swap
bundle swaponly /rt/swaponly '"memory": {"swap": 16777216}'
refused swap-without-memory "memory" swaponly
bundle cpus /rt/cpus '"cpu": {"cpus": "0"}'
refused missing-cpuset "cpuset" cpus
bundle huge /rt/huge '"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]'
refused missing-hugetlb "hugetlb" huge

# --- groups inside ----------------------------------------------------------------------------------------------
bundle nest /rt/nest '' 'exec sleep 300'
started nest
mkdir $TOP/rt/nest/inner
cat $BUNDLES/nest/pid >$TOP/rt/nest/inner/cgroup.procs
echo +pids >$TOP/rt/nest/cgroup.subtree_control
has exec-beside-nested "inner" "$(rt exec nest cat /proc/self/cgroup)"
rt kill nest KILL
step rt delete --force nest
is nested-removed "" "$(find $TOP/rt -type d -name nest)"
rmdir $TOP/rt $TOP/rel 2>/dev/null
