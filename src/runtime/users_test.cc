// SPDX-License-Identifier: Apache-2.0
#include "runtime/users.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "sys/files.h"

namespace caisson::runtime {

constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n# "
    "comment\nbroken\nuser:x:1000:1001::/home/user:/bin/sh\n1234:x:77:78::/odd:\nbad:x:-1:0::/:\n";
constexpr const char* kGroup =
    "root:x:0:\nwheel:x:10:root,user\nusers:x:1001:\ndocker:x:999:user\nbig:x:99999999999:user\n";

static std::string text_of(std::string_view user, const std::vector<std::string>& extra = {}) {
  auto r = resolve_user_in(kPasswd, kGroup, user, extra);
  if (!r) return r.error().message;
  std::string out = std::to_string(r->uid) + ":" + std::to_string(r->gid);
  for (auto gid : r->additional_gids) out += "," + std::to_string(gid);
  return out + " " + r->home;
}

TEST_CASE("users by name and number") {
  CHECK(text_of("") == "0:0,0,10 /root");
  CHECK(text_of("root") == "0:0,0,10 /root");
  CHECK(text_of("user") == "1000:1001,1001,10,999 /home/user");
  CHECK(text_of("1000") == "1000:1001,1001,10,999 /home/user");
  CHECK(text_of("4321") == "4321:0,0 /");
  CHECK(text_of("1234") == "77:78,78 /odd");  // a name of digits wins
  CHECK(text_of("user:docker") == "1000:999,999 /home/user");
  CHECK(text_of("5:6") == "5:6,6 /");
  CHECK(text_of("user:", {"wheel", "55"}) == "1000:1001,1001,10,999,55 /home/user");
}

TEST_CASE("texts of refusals are Docker's") {
  CHECK(text_of("nosuch") == "unable to find user nosuch: no matching entries in passwd file");
  CHECK(text_of("user:nosuch") == "unable to find group nosuch: no matching entries in group file");
  CHECK(text_of("root", {"nosuch"}) == "unable to find group nosuch: no matching entries in group file");
  CHECK(text_of("99999999999") == "uids and gids must be in range 0-2147483647");
  CHECK(text_of("-1") == "unable to find user -1: no matching entries in passwd file");
}

TEST_CASE("account files of an image are hostile") {
  char name[] = "/tmp/caisson-users-XXXXXX";
  std::string dir = mkdtemp(name);
  auto root = sys::open_file(dir, O_PATH | O_DIRECTORY);
  REQUIRE(root);
  CHECK(resolve_user(root->get(), "7")->uid == 7);  // no files at all
  REQUIRE(mkdir((dir + "/etc").c_str(), 0755) == 0);
  REQUIRE(mkfifo((dir + "/etc/passwd").c_str(), 0644) == 0);
  auto fifo = resolve_user(root->get(), "root");
  REQUIRE_FALSE(fifo);
  CHECK(fifo.error().message == "'etc/passwd' of the image is not a regular file");
  unlink((dir + "/etc/passwd").c_str());
  // A link that leads out is followed inside: there is nothing there.
  REQUIRE(symlink("/etc/passwd", (dir + "/etc/passwd").c_str()) == 0);
  CHECK_FALSE(resolve_user(root->get(), "root"));
  unlink((dir + "/etc/passwd").c_str());
  REQUIRE(sys::write_file(dir + "/etc/passwd", std::string(5 << 20, 'x')));
  CHECK(resolve_user(root->get(), "root").error().kind == ErrorKind::kExhausted);
  CHECK(sys::remove_tree(dir));
}

}  // namespace caisson::runtime
