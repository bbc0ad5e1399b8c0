#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The systemd cgroup driver under a systemd that runs the machine. The functions are those of lib.sh;
# RUNTIME is the program, UNIT_PREFIX what it calls its units by default.

: "${UNIT_PREFIX:=caisson}"
sd() { $RUNTIME --root $STATE --systemd-cgroup "$@" 2>&1; }
# sd_started NAME
sd_started() {
  sd create --bundle "$BUNDLES/$1" --pid-file "$BUNDLES/$1/pid" "$1" </dev/null >"$BUNDLES/$1/out" 2>&1 || not_ok step "create $1: $(cat "$BUNDLES/$1/out")"
  step sd start "$1"
}
show() { systemctl show -P "$2" "$1" 2>&1; }
# properties UNIT WANT...: each NAME=VALUE as systemd has it; asked for all at once, as a question takes its time here
properties() {
  properties_of=$(systemctl show "$1" 2>&1)
  properties_as=$2
  shift 2
  for want in "$@"; do
    is "$properties_as-${want%%=*}" "$want" "$(echo "$properties_of" | sed -n "/^${want%%=*}=/p")"
  done
}
unknown() { [ "$(systemctl show -P LoadState "$1")" = not-found ]; }
# annotated NAME JSON: adds annotations to a bundle
annotated() { sed -i "s/\"linux\": {/\"annotations\": {$2}, &/" "$BUNDLES/$1/config.json"; }

# --- a scope with limits ------------------------------------------------------------------------------------
bundle one sys-web.slice:box:one '"memory": {"limit": 67108864, "reservation": 16777216, "swap": 100663296},
  "cpu": {"shares": 512, "quota": 20000, "period": 50000}, "pids": {"limit": 50}, "unified": {"memory.high": "50331648"},
  "devices": [{"allow": false, "access": "rwm"}]'
annotated one '"org.systemd.property.TimeoutStopUSec": "uint64 123000000", "org.systemd.property.Documentation": "['"'"'man:box(1)'"'"']"'
sd_started one
unit=box-one.scope
group=$TOP/sys.slice/sys-web.slice/$unit
pid=$(cat $BUNDLES/one/pid)
is scope-is-active active "$(systemctl is-active $unit)"
is scope-is-where-it-belongs "/sys.slice/sys-web.slice/$unit" "$(show $unit ControlGroup)"
is scope-has-the-process "0::/sys.slice/sys-web.slice/$unit" "$(cat /proc/$pid/cgroup)"
is scope-has-nobody-else "$pid" "$(cat $group/cgroup.procs)"
properties $unit scope MemoryMax=67108864 MemoryLow=16777216 MemorySwapMax=33554432 MemoryHigh=50331648 CPUWeight=20 CPUQuotaPerSecUSec=400ms \
  CPUQuotaPeriodUSec=50ms TasksMax=50 Delegate=yes Slice=sys-web.slice "TimeoutStopUSec=2min 3s" 'Documentation="man:box(1)"'
for want in memory.max=67108864 memory.swap.max=33554432 memory.low=16777216 memory.high=50331648 cpu.weight=20 "cpu.max=20000 50000" pids.max=50; do
  is "scope-file-${want%%=*}" "${want#*=}" "$(cat "$group/${want%%=*}" 2>&1)"
done
is scope-state running "$(status one)"
has scope-exec "0::/" "$(sd exec one cat /proc/self/cgroup)"
has scope-exec-devices "Operation not permitted" "$(sd exec one sh -c 'mknod /tmp/x$$ c 1 11 && head -c 1 /tmp/x$$')"

# --- update, and what systemd makes of it -----------------------------------------------------------------------
step sd update --memory 33554432 --memory-swap 50331648 --cpu-share 1024 --cpu-quota 30000 --pids-limit 30 one
properties $unit scope-update MemoryMax=33554432 MemorySwapMax=16777216 CPUWeight=39 CPUQuotaPerSecUSec=600ms TasksMax=30
is scope-update-files "33554432 16777216 39 30000 50000 30" "$(echo $(cat $group/memory.max $group/memory.swap.max $group/cpu.weight $group/cpu.max $group/pids.max))"
step systemctl daemon-reload
is scope-reload-keeps-limits "33554432 39 30" "$(echo $(cat $group/memory.max $group/cpu.weight $group/pids.max))"
has scope-reload-keeps-devices "Operation not permitted" "$(sd exec one sh -c 'mknod /tmp/y$$ c 1 11 && head -c 1 /tmp/y$$')"
step sd pause one
is scope-paused "paused 1" "$(status one) $(cat $group/cgroup.freeze)"
step sd resume one
is scope-resumed "running 0" "$(status one) $(cat $group/cgroup.freeze)"
has scope-events '"type":"stats"' "$(sd events --stats one | tr -d ' \n')"

# --- names ------------------------------------------------------------------------------------------------------
bundle two sys-web.slice:box:one '' 'echo ran'
seen=$(sd run --bundle $BUNDLES/two two </dev/null)
has unit-name-taken "already" "$seen"
is unit-name-taken-spares-the-other "running" "$(status one)"
sd delete --force two >/dev/null
is unit-name-taken-still-there "$pid" "$(cat $group/cgroup.procs)"
bundle wrong /not/for/systemd '' 'echo ran'
has cgroupspath-form "slice:prefix:name" "$(sd run --bundle $BUNDLES/wrong wrong </dev/null)"
bundle badslice nothing:box:x '' 'echo ran'
has slice-form "slice" "$(sd run --bundle $BUNDLES/badslice badslice </dev/null)"
bundle plain "" '' 'cat /proc/self/cgroup' ''
sed -i 's/"cgroupsPath": "", //' $BUNDLES/plain/config.json
is default-unit "0::/system.slice/$UNIT_PREFIX-plain.scope" "$(sd run --bundle $BUNDLES/plain plain </dev/null)"
if soon 5 unknown $UNIT_PREFIX-plain.scope; then ok default-unit-is-gone; else not_ok default-unit-is-gone "$(show $UNIT_PREFIX-plain.scope ActiveState)"; fi
bundle noslice :box:noslice '' 'cat /proc/self/cgroup' ''
is empty-slice "0::/system.slice/box-noslice.scope" "$(sd run --bundle $BUNDLES/noslice noslice </dev/null)"

# --- the ends ---------------------------------------------------------------------------------------------------
step sd kill one KILL
soon 5 ended one || not_ok scope-killed "$(status one)"
step sd delete one
if soon 5 unknown $unit; then ok delete-ends-the-unit; else not_ok delete-ends-the-unit "$(show $unit ActiveState)"; fi
is delete-removes-the-group "" "$(find $TOP -type d -name $unit)"
is delete-leaves-no-failed-unit "" "$(systemctl list-units --all --no-legend --plain 'box-*')"
bundle stop sys.slice:box:stop
sd_started stop
step systemctl stop box-stop.scope
if soon 5 ended stop; then ok stopped-by-systemd; else not_ok stopped-by-systemd "$(status stop)"; fi
step sd delete stop
bundle force sys.slice:box:force '' 'sleep 300 & exec sleep 310'
sd_started force
step sd delete --force force
if soon 5 unknown box-force.scope; then ok force-ends-the-unit; else not_ok force-ends-the-unit "$(show box-force.scope ActiveState)"; fi
bundle fails sys.slice:box:fails
sed -i 's/"args": \["sh"/"args": ["\/no\/such"/' $BUNDLES/fails/config.json
has no-program "no" "$(sd run --bundle $BUNDLES/fails fails </dev/null)"
if soon 5 unknown box-fails.scope; then ok no-program-leaves-no-unit; else not_ok no-program-leaves-no-unit "$(show box-fails.scope ActiveState)"; fi
sd delete --force fails >/dev/null
bundle fs /rt/fs '"pids": {"limit": 10}' 'cat /proc/self/cgroup' ''
is cgroupfs-beside-systemd "0::/rt/fs" "$(rt run --bundle $BUNDLES/fs fs </dev/null)"
rmdir $TOP/rt 2>/dev/null

# --- an ordinary user with a manager of their own -----------------------------------------------------------------
step systemctl start user@1000.service
mkdir -p /run/user/1000/state
chown 1000:1000 /run/user/1000/state
as_user() { setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=/tmp XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus "$@" 2>&1; }
us() { as_user $RUNTIME --root /run/user/1000/state --systemd-cgroup "$@"; }
bundle mine user.slice:box:mine '"memory": {"limit": 33554432}, "pids": {"limit": 20}'
sed -i -e 's/{"type": "pid"}/{"type": "user"}, &/' -e 's/"linux": {/&"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}], "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}], /' $BUNDLES/mine/config.json
cp -r $BUNDLES/mine /run/user/1000/bundle
chown -R 1000:1000 /run/user/1000/bundle
us create --bundle /run/user/1000/bundle --pid-file /run/user/1000/pid mine </dev/null >/tmp/mine.out 2>&1 || not_ok step "create mine as a user: $(cat /tmp/mine.out)"
step us start mine
unit=box-mine.scope
is user-scope-is-active active "$(as_user systemctl --user is-active $unit)"
group=$(as_user systemctl --user show -P ControlGroup $unit)
has user-scope-is-the-users "/user@1000.service/user.slice/$unit" "$group"
is user-scope-has-the-process "0::$group" "$(cat /proc/$(cat /run/user/1000/pid)/cgroup)"
is user-scope-limits "33554432 20" "$(echo $(cat $TOP$group/memory.max $TOP$group/pids.max))"
is user-scope-properties "33554432" "$(as_user systemctl --user show -P MemoryMax $unit)"
has user-exec "uid=0" "$(us exec mine id)"
step us update --memory 41943040 mine
is user-update "41943040" "$(cat $TOP$group/memory.max)"
step us delete --force mine
user_unknown() { [ "$(as_user systemctl --user show -P LoadState $unit)" = not-found ]; }
if soon 5 user_unknown; then ok user-delete-ends-the-unit; else not_ok user-delete-ends-the-unit "$(as_user systemctl --user status $unit)"; fi
is nothing-is-left "" "$(systemctl list-units --all --no-legend --plain 'box-*' "$UNIT_PREFIX-*"; find $TOP -name 'box-*' -type d)"
