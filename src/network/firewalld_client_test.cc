// SPDX-License-Identifier: Apache-2.0
// What the client tells its program, which is a small shell script here.
#include "network/firewalld_client.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "sys/files.h"

using namespace caisson;
using namespace caisson::network;

namespace {

constexpr int64_t kPatienceNs = 30'000'000'000;

struct Fixture {
  std::string directory, program, told;
  Fixture() {
    char name[] = "/tmp/firewalld-client-XXXXXX";
    REQUIRE(mkdtemp(name));
    directory = name;
    program = directory + "/program";
    told = directory + "/told";
    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere", 1);
  }
  ~Fixture() {
    unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    (void)sys::remove_tree(directory).has_value();
  }
  void script(const std::string& text) {
    REQUIRE(sys::replace_file(program, "#!/bin/sh\n" + text));
    REQUIRE(chmod(program.c_str(), 0755) == 0);
  }
  std::string said() { return sys::read_file(told, 1 << 16).value_or(""); }
  bool says(const std::string& wanted) {
    for (int64_t end = monotonic_ns() + kPatienceNs; monotonic_ns() < end; usleep(3000))
      if (said() == wanted) return true;
    return false;
  }
};

}  // namespace

TEST_CASE("firewalld client: the program is told what changes, and ends with the client") {
  Fixture with;
  with.script("while read line; do echo \"$line\" >> " + with.told + "; done; echo end >> " + with.told + "\n");
  {
    auto client = FirewalldClient::create(with.program);
    REQUIRE(client);
    (*client)->add("br0");
    (*client)->add("br0");
    CHECK(with.says("+br0\n"));
    (*client)->add("br1");
    CHECK(with.says("+br0\n+br1\n"));
    (*client)->remove("br0");
    CHECK(with.says("+br0\n+br1\n-br0\n"));
    (*client)->remove("br9");
    CHECK(with.says("+br0\n+br1\n-br0\n-br9\n"));
  }
  CHECK(with.said() == "+br0\n+br1\n-br0\n-br9\nend\n");
}

TEST_CASE("firewalld client: another program is told everything that is there") {
  Fixture with;
  // The first one ends after two lines.
  with.script("read a; read b; echo \"$a $b\" >> " + with.told + "; [ -e " + with.directory +
              "/again ] && cat > /dev/null; touch " + with.directory + "/again\n");
  auto client = FirewalldClient::create(with.program);
  REQUIRE(client);
  (*client)->add("br0");
  (*client)->add("br1");
  CHECK(with.says("+br0 +br1\n+br0 +br1\n"));
}

TEST_CASE("firewalld client: nothing waits for a program that does not read, or is not there") {
  Fixture with;
  with.script("exec sleep 1000\n");
  for (const auto& program : {with.program, with.directory + "/missing"}) {
    auto client = FirewalldClient::create(program);
    REQUIRE(client);
    for (int i = 0; i < 300; ++i) (*client)->add(format("br%d", i));
  }
}
