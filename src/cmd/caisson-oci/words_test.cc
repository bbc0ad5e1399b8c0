// SPDX-License-Identifier: Apache-2.0
// The small languages of the command line: signals, sizes, durations, tables of ps, stat lines, criu's logs.
#include <doctest/doctest.h>

#include <signal.h>

#include "criu.h"
#include "ps_table.h"
#include "record.h"
#include "resources.h"
#include "signals.h"

using namespace caisson;
using namespace caisson::oci;

TEST_CASE("signals") {
  for (const char* text : {"9", "KILL", "SIGKILL", "sigkill", "Kill"}) CHECK(signal_number(text) == SIGKILL);
  CHECK(signal_number("0") == 0);
  CHECK(signal_number("SIGRTMIN+3") == SIGRTMIN + 3);
  CHECK(signal_number("RTMAX-1") == SIGRTMAX - 1);
  for (const char* text : {"", "SIG", "NOPE", "-1", "9x", "RTMIN+99", "99999999999"}) CHECK_FALSE(signal_number(text));
  CHECK(signal_number("NOPE").error().message == "unknown signal \"NOPE\"");
}

TEST_CASE("sizes") {
  CHECK(parse_size("0") == 0);
  CHECK(parse_size("1024") == 1024);
  CHECK(parse_size("10k") == 10240);
  CHECK(parse_size("1.5G") == 1610612736);
  CHECK(parse_size("512MiB") == 536870912);
  CHECK(parse_size("1 kb") == 1024);
  for (const char* text : {"", "abc", "-5", "1x", "1kk", "i", "99999999999p", "."}) CHECK_FALSE(parse_size(text));
}

TEST_CASE("durations") {
  CHECK(parse_duration("5s") == 5000000000);
  CHECK(parse_duration("1m30s") == 90000000000);
  CHECK(parse_duration("250ms") == 250000000);
  CHECK(parse_duration("1.5h") == 5400000000000);
  for (const char* text : {"", "5", "s", "5y", "99999999999h", "-5s"}) CHECK_FALSE(parse_duration(text));
}

TEST_CASE("rows of ps") {
  const char* table = "UID   PID  PPID CMD\nroot  10     1 a b\nroot  11    10 10\n";
  CHECK(*rows_of_pids(table, {10}) == "UID   PID  PPID CMD\nroot  10     1 a b\n");
  CHECK(*rows_of_pids(table, {}) == "UID   PID  PPID CMD\n");
  CHECK_FALSE(rows_of_pids("CMD\na\n", {10}));
  CHECK_FALSE(rows_of_pids("PID\nx\n", {10}));
}

TEST_CASE("a process lives when its start time is the one written down") {
  std::string head = "7 (a) b) S 1 7 7 0 -1 ", tail = " 0 0 0 0 0 0 0 0 20 0 1 0 4242 99 1\n";
  CHECK(lives_by_stat(head + "4194560" + tail, 4242));
  CHECK_FALSE(lives_by_stat(head + "4194560" + tail, 4243));
  CHECK_FALSE(lives_by_stat(head + "4194564" + tail, 4242));  // exiting
  CHECK_FALSE(lives_by_stat("7 (a) Z 1 7 7 0 -1 4194560" + tail, 4242));
  for (const char* text : {"", "7 (a", "7 (a)", "7 (a) S 1"}) CHECK_FALSE(lives_by_stat(text, 0));
}

TEST_CASE("a record comes back as it was written") {
  Record record;
  record.id = "box";
  record.pid = 7;
  record.start_time = 4242;
  record.cgroup.dirs = {"/cg/box"};
  record.cgroup.controllers = {{"cpu"}};
  record.annotations = {{"a", "b"}};
  record.poststop = {{"/bin/hook", {"hook", "x"}, {"A=1"}, 3}};
  auto back = json::decode<Record>(json::encode(record));
  REQUIRE(back);
  CHECK(back->id == "box");
  CHECK(back->start_time == 4242);
  CHECK(back->cgroup.dirs == record.cgroup.dirs);
  CHECK(back->poststop == record.poststop);
  CHECK(back->annotations == record.annotations);
}

TEST_CASE("ids are names of directories") {
  for (const char* id : {"a", "A-b_c.d+e", "0"}) CHECK(check_id(id));
  for (const char* id : {"", ".", "..", "a/b", "a b", "a\n", "\xc3\xa4"}) CHECK_FALSE(check_id(id));
  CHECK_FALSE(check_id(std::string(256, 'a')));
}

TEST_CASE("criu's last error") {
  CHECK(last_error_of("(00.1) x\n(00.2) Error (a.c:1): first\n(00.3) Error (b.c:2): second\n(00.4) y\n") ==
        "Error (b.c:2): second");
  CHECK(last_error_of("fine\n") == "");
}

TEST_CASE("mounts that criu must be told of") {
  spec::RuntimeSpec spec;
  spec.mounts = {{"/data", "bind", "vol", {}, {}, {}},
                 {"/x", "none", "/host", {"rbind"}, {}, {}},
                 {"/proc", "proc", "proc", {}, {}, {}},
                 {"/sys/fs/cgroup", "cgroup", "cgroup", {}, {}, {}}};
  sys::CgroupPaths cgroup;
  cgroup.dirs = {"/cg/cpu/box", "/cg/systemd/box"};
  cgroup.controllers = {{"cpu", "cpuacct"}, {"name=systemd"}};
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  CHECK(external_mounts(spec, "/bundle", cgroup) == Pairs{{"/data", "/bundle/vol"},
                                                          {"/x", "/host"},
                                                          {"/sys/fs/cgroup/cpu,cpuacct", "/cg/cpu/box"},
                                                          {"/sys/fs/cgroup/systemd", "/cg/systemd/box"}});
}
