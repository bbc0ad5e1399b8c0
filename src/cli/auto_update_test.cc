// SPDX-License-Identifier: Apache-2.0
#include "cli/auto_update.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::cli;

namespace {

JsonValue json(const char* text) { return JsonValue::parse(text).value(); }

const char* kImage = R"({"Config": {"Env": ["PATH=/bin", "OLD=1"], "Cmd": ["serve"], "Labels": {"version": "1"}}})";

}  // namespace

TEST_CASE("what came from the image is left to the new one") {
  auto body = updated_config(json(R"({"Id": "0123456789abcdef", "Config": {"Hostname": "0123456789ab", "Image": "x:1",
      "Env": ["PATH=/bin", "OLD=1", "MINE=2"], "Cmd": ["serve"], "Labels": {"version": "1", "mine": "yes"}, "Tty": true},
      "HostConfig": {"NetworkMode": "host"}})"),
                             json(kImage));
  CHECK(body.at("Env").dump() == R"(["MINE=2"])");
  CHECK(body.at("Cmd").is_null());
  CHECK(body.at("Labels").dump() == R"({"mine":"yes"})");
  CHECK(body.at("Tty").as_bool());
  CHECK(body.at("Image").text() == "x:1");
  CHECK(body.at("Hostname").text().empty());
  CHECK(body.find("NetworkingConfig") == nullptr);
}

TEST_CASE("what the user said stays") {
  auto body = updated_config(json(R"({"Id": "0123456789abcdef", "Config": {"Hostname": "mine", "Cmd": ["other"]},
      "HostConfig": {"NetworkMode": "net"}, "NetworkSettings": {"Networks": {"net": {"Aliases": ["web", "0123456789ab"],
      "IPAMConfig": {"IPv4Address": "10.0.0.9"}, "IPAddress": "10.0.0.9", "Links": null}}}})"),
                             json(kImage));
  CHECK(body.at("Cmd").dump() == R"(["other"])");
  CHECK(body.at("Hostname").text() == "mine");
  CHECK(body.at("NetworkingConfig").dump() ==
        R"({"EndpointsConfig":{"net":{"IPAMConfig":{"IPv4Address":"10.0.0.9"},"Aliases":["web"]}}})");
}

TEST_CASE("volumes without a name of their own go along") {
  auto body = updated_config(json(R"({"Id": "0", "Config": {}, "HostConfig": {"NetworkMode": "none",
      "Binds": ["named:/b:ro"], "Mounts": [{"Type": "volume", "Target": "/m"}, {"Type": "tmpfs", "Target": "/t"}]},
      "Mounts": [{"Type": "volume", "Name": "aa", "Destination": "/a", "RW": true},
                 {"Type": "volume", "Name": "named", "Destination": "/b", "RW": false},
                 {"Type": "volume", "Name": "mm", "Destination": "/m", "RW": false},
                 {"Type": "bind", "Destination": "/c", "RW": true}]})"),
                             json(kImage));
  CHECK(body.at("HostConfig", "Mounts").dump() ==
        R"([{"Type":"volume","Source":"aa","Target":"/a","ReadOnly":false},)"
        R"({"Type":"volume","Source":"mm","Target":"/m","ReadOnly":true},{"Type":"tmpfs","Target":"/t"}])");
}
