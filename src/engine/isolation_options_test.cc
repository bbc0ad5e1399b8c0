// SPDX-License-Identifier: Apache-2.0
#include "engine/isolation_options.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::engine;

namespace {

std::string refusal(const spec::HostConfig& host, bool v2 = true) {
  auto checked = check_isolation(host, v2);
  if (checked) return "";
  CHECK(checked.error().kind == ErrorKind::kInvalid);
  return checked.error().message;
}

}  // namespace

TEST_CASE("a umask is octal") {
  spec::HostConfig host;
  CHECK(umask_of(host).value() == std::nullopt);
  for (auto [text, value] :
       {std::pair("0", 0u), std::pair("22", 022u), std::pair("0077", 077u), std::pair("777", 0777u)}) {
    host.umask = text;
    CHECK(umask_of(host).value() == value);
    CHECK(refusal(host).empty());
  }
  for (const char* bad : {"8", "1777", "00022", "-1", "0x2", " 22", "u=rwx"}) {
    host.umask = bad;
    CHECK(refusal(host) == "invalid umask '" + host.umask + "': must be octal, from 0 to 0777");
  }
}

TEST_CASE("personalities") {
  spec::HostConfig host;
  CHECK(!personality_of(host).value());
  host.personality = "linux32";
  CHECK(personality_of(host).value()->domain == "LINUX32");
  host.personality = "LINUX";
  CHECK(personality_of(host).value()->domain == "LINUX");
  host.personality = "BSD";
  CHECK(refusal(host) == "invalid personality 'BSD': must be 'LINUX' or 'LINUX32'");
}

TEST_CASE("clocks make a time namespace") {
  spec::HostConfig host;
  spec::OciLinux part;
  REQUIRE(add_isolation(host, part));
  CHECK(part.namespaces.empty());
  CHECK(!part.resources);
  host.time_offsets = {{"boottime", "86400"}, {"monotonic", "-5"}};
  CHECK(refusal(host).empty());
  REQUIRE(add_isolation(host, part));
  CHECK(part.namespaces.at(0).type == "time");
  CHECK(part.time_offsets.at("boottime").secs == 86400);
  CHECK(part.time_offsets.at("monotonic").secs == -5);
  host.time_offsets = {{"realtime", "1"}};
  CHECK(refusal(host) == "invalid time offset: unknown clock 'realtime': must be 'monotonic' or 'boottime'");
  for (const char* bad : {"", "1h", "9223372036854775807", "-9223372036854775807"}) {
    host.time_offsets = {{"boottime", bad}};
    CHECK(refusal(host) == "invalid time offset of 'boottime': '" + std::string(bad) + "' is no number of seconds");
  }
}

TEST_CASE("files of the cgroup") {
  spec::HostConfig host;
  host.cgroup_conf = {{"memory.high", "50M"}};
  CHECK(refusal(host).empty());
  CHECK(refusal(host, false) == "cgroup-conf names files of cgroup v2, and this host has v1");
  spec::OciLinux part;
  REQUIRE(add_isolation(host, part));
  CHECK(part.resources->unified == spec::StringMap{{"memory.high", "50M"}});
  for (const char* bad : {"", "memory", ".high", "memory.", "../memory.high", "a.b/c", "a.b\nc"}) {
    host.cgroup_conf = {{bad, "1"}};
    CHECK(refusal(host).starts_with("invalid cgroup-conf: "));
  }
}
