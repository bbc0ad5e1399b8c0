#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Networks that sit on a link of the host: macvlan and ipvlan. Read by init after the other checks; lan0 is the guest's
# link to a second host, which is a network namespace here.

caisson image inspect busybox >/dev/null 2>&1 || caisson load -i /images/busybox.tar >/dev/null
unshare -n sleep 100000 &
neighbour=$!
other() { nsenter -t $neighbour -n "$@"; }
there() { [ "$(readlink /proc/$neighbour/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
soon 5 there
# The other end is veth0: busybox cannot name it.
ip link add lan0 type veth
ip link set veth0 netns $neighbour
other ip link set veth0 name lan1
ip link set lan0 up
other ip link set lo up
other ip link set lan1 up
other ip addr add 192.168.50.1/24 dev lan1

net() { caisson network create --subnet 192.168.50.0/24 --gateway 192.168.50.1 "$@" 2>&1; }
# inside NAME NETWORK [FLAG...]: a container that stays
inside() {
  inside_name=$1 inside_network=$2
  shift 2
  caisson run -d --name "$inside_name" --network "$inside_network" "$@" busybox sleep 100000 2>&1
}
address() { caisson inspect -f "{{(index .NetworkSettings.Networks \"$2\").IPAddress}}" "$1"; }
pings() { caisson exec "$1" ping -c1 -W3 "$2" >/dev/null 2>&1; }
yes_no() { if "$@"; then echo yes; else echo no; fi; }
gone() { caisson rm -f "$@" >/dev/null 2>&1; }
sees() { other ping -c1 -W3 "$1" >/dev/null 2>&1; }

# --- macvlan ------------------------------------------------------------------------------------------------------
step net -d macvlan -o parent=lan0 --aux-address printer=192.168.50.2 lan
is macvlan-driver "macvlan" "$(caisson network inspect -f '{{.Driver}}' lan)"
step inside one lan
step inside two lan --ip 192.168.50.77 --mac-address 02:00:00:00:00:77
is macvlan-first-free-address 192.168.50.3 "$(address one lan)"
is macvlan-asked-address 192.168.50.77 "$(address two lan)"
is macvlan-asked-mac "02:00:00:00:00:77" "$(caisson exec two cat /sys/class/net/eth0/address)"
has macvlan-default-route "default via 192.168.50.1 dev eth0" "$(caisson exec one ip route)"
is macvlan-container-reaches-the-lan yes "$(yes_no pings one 192.168.50.1)"
is macvlan-lan-reaches-the-container yes "$(yes_no sees 192.168.50.3)"
is macvlan-bridge-between-containers yes "$(yes_no pings one 192.168.50.77)"
is macvlan-name yes "$(yes_no pings one two)"
has macvlan-second-network-on-the-parent "already using parent interface lan0" \
  "$(caisson network create -d macvlan --subnet 10.5.0.0/24 -o parent=lan0 twice 2>&1)"
caisson network disconnect lan two
is macvlan-disconnected "" "$(caisson exec two ls /sys/class/net | grep eth0)"
caisson network connect --ip 192.168.50.78 lan two
is macvlan-connected yes "$(yes_no sees 192.168.50.78)"
caisson restart -t 0 one >/dev/null
is macvlan-restarted yes "$(yes_no sees "$(address one lan)")"
gone one two
is macvlan-removed lan "$(caisson network rm lan 2>&1)"
has macvlan-parent-stays lan0 "$(ip link)"

net -d macvlan -o parent=lan0 -o macvlan_mode=private alone >/dev/null
step inside one alone
step inside two alone
is macvlan-private-reaches-the-lan yes "$(yes_no pings one 192.168.50.1)"
is macvlan-private-between-containers no "$(yes_no pings one "$(address two alone)")"
gone one two
caisson network rm alone >/dev/null

net -d macvlan -o parent=lan0 -o macvlan_mode=vepa vepa >/dev/null
step inside one vepa
step inside two vepa
is macvlan-vepa-reaches-the-lan yes "$(yes_no pings one 192.168.50.1)"
is macvlan-vepa-between-containers no "$(yes_no pings one "$(address two vepa)")"
gone one two
caisson network rm vepa >/dev/null

net -d macvlan -o parent=lan0 -o macvlan_mode=passthru whole >/dev/null
step inside one whole
is macvlan-passthru-reaches-the-lan yes "$(yes_no pings one 192.168.50.1)"
has macvlan-passthru-is-for-one "excludes it" "$(inside two whole)"
gone one two
caisson network rm whole >/dev/null

# --- a VLAN of the parent, made and taken away ----------------------------------------------------------------------
other ip link add link lan1 name lan1.10 type vlan id 10
other ip link set lan1.10 up
other ip addr add 192.168.60.1/24 dev lan1.10
caisson network create -d macvlan --subnet 192.168.60.0/24 --gateway 192.168.60.1 -o parent=lan0.10 tagged >/dev/null
has vlan-parent-is-made "lan0.10" "$(ip link)"
step inside one tagged
is vlan-reached yes "$(yes_no pings one 192.168.60.1)"
has vlan-number "VID: 10" "$(cat /proc/net/vlan/lan0.10)"
gone one
caisson network rm tagged >/dev/null
is vlan-parent-is-gone "" "$(ip link | grep 'lan0[.]10')"
has lan-parent-missing "was not found" "$(caisson network create -d macvlan --subnet 10.9.0.0/24 -o parent=nope9 lost 2>&1)"

# --- among themselves ------------------------------------------------------------------------------------------------
caisson network create -d macvlan --subnet 10.61.0.0/24 --internal closed >/dev/null
step inside one closed
step inside two closed
is lan-internal-between-containers yes "$(yes_no pings one "$(address two closed)")"
is lan-internal-no-way-out "" "$(caisson exec one ip route | grep default)"
has lan-internal-dummy "dm-" "$(ip link)"
gone one two
caisson network rm closed >/dev/null
is lan-internal-dummy-is-gone "" "$(ip link | grep dm-)"

# --- ipvlan ------------------------------------------------------------------------------------------------------------
net -d ipvlan -o parent=lan0 flat >/dev/null
step inside one flat
step inside two flat
is ipvlan-l2-reaches-the-lan yes "$(yes_no pings one 192.168.50.1)"
is ipvlan-l2-lan-reaches-the-container yes "$(yes_no sees "$(address one flat)")"
is ipvlan-l2-between-containers yes "$(yes_no pings one "$(address two flat)")"
is ipvlan-has-its-parents-mac "$(cat /sys/class/net/lan0/address)" "$(caisson exec one cat /sys/class/net/eth0/address)"
has ipvlan-mac-cannot-be-asked "MAC" "$(inside three flat --mac-address 02:00:00:00:00:79)"
gone one two three
caisson network rm flat >/dev/null

net -d ipvlan -o parent=lan0 -o ipvlan_flag=private apart >/dev/null
step inside one apart
step inside two apart
is ipvlan-private-between-containers no "$(yes_no pings one "$(address two apart)")"
gone one two
caisson network rm apart >/dev/null

ip addr add 192.168.50.2/24 dev lan0
other ip route add 10.70.0.0/24 via 192.168.50.2
for mode in l3 l3s; do
  caisson network create -d ipvlan --subnet 10.70.0.0/24 -o parent=lan0 -o ipvlan_mode=$mode routed >/dev/null
  step inside one routed
  has ipvlan-$mode-route "default dev eth0" "$(caisson exec one ip route)"
  is ipvlan-$mode-reaches-the-lan yes "$(yes_no pings one 192.168.50.1)"
  is ipvlan-$mode-lan-reaches-the-container yes "$(yes_no sees "$(address one routed)")"
  gone one
  caisson network rm routed >/dev/null
done

# --- an engine that was killed ---------------------------------------------------------------------------------------
net -d macvlan -o parent=lan0 lan >/dev/null
step inside one lan
kill -9 $engine
wait $engine 2>/dev/null
caissond --data-root /var/data --exec-root /run/exec --host "$DOCKER_HOST" --debug >>/run/engine.log 2>&1 &
engine=$!
soon 10 caisson version
is lan-goes-on yes "$(yes_no sees "$(address one lan)")"
step inside two lan
is lan-no-address-twice "192.168.50.3" "$(address two lan)"
gone one two
caisson network rm lan >/dev/null
kill $neighbour
