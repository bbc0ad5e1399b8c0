// SPDX-License-Identifier: Apache-2.0
#include "engine/cni_config.h"

#include <doctest/doctest.h>

#include "engine/cni_plugin.h"
#include "wire/json.h"

namespace caisson::engine {

static const char* const kBridge = R"({"cniVersion": "1.0.0", "name": "blue", "disableCheck": true, "plugins": [
  {"type": "bridge", "bridge": "b0", "capabilities": {"ips": true, "mac": false},
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24", "gateway": "10.9.0.1"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "runtimeConfig": {"old": 1}, "name": "other"}]})";

static std::string why(std::string_view text) {
  auto list = parse_cni_list(text);
  return list ? "no error" : list.error().message;
}

TEST_CASE("cni: a list is read") {
  auto list = parse_cni_list(kBridge);
  REQUIRE(list);
  CHECK(list->name == "blue");
  CHECK(list->disable_check);
  CHECK(list->at_least("0.4.0"));
  CHECK_FALSE(list->at_least("1.1.0"));
  REQUIRE(list->plugins.size() == 2);
  CHECK(list->plugins[1].type == "portmap");
  CHECK(list->has_capability("ips"));
  CHECK_FALSE(list->has_capability("mac"));
  CHECK(list->has_capability("portMappings"));
  REQUIRE(list->subnets.size() == 1);
  CHECK(list->subnets[0] == std::pair<std::string, std::string>("10.9.0.0/24", "10.9.0.1"));
  auto again = parse_cni_list(list->encode());
  REQUIRE(again);
  CHECK(again->encode() == list->encode());
  CHECK(again->disable_check);
}

TEST_CASE("cni: a single plugin is a list of one") {
  auto list = parse_cni_list(R"({"cniVersion": "0.4.0", "name": "lo", "type": "loopback"})");
  REQUIRE(list);
  REQUIRE(list->plugins.size() == 1);
  CHECK(list->plugins[0].type == "loopback");
}

TEST_CASE("cni: versions") {
  CHECK(why(R"({"name": "old", "plugins": [{"type": "bridge"}]})") ==
        "cniVersion '0.1.0' is not supported: 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0 are");
  auto list = parse_cni_list(R"({"name": "n", "cniVersion": "0.4.0", "cniVersions": ["9.0.0", "1.1.0", "1.0.0"]})");
  REQUIRE(list);
  CHECK(list->version == "1.1.0");
  CHECK(list->at_least("1.1.0"));
}

TEST_CASE("cni: mistakes are told") {
  CHECK(why("{") != "no error");
  CHECK(why("[]") != "no error");
  CHECK(why(R"({"cniVersion": "1.0.0", "name": "../x"})").starts_with("'../x' is not a name for a network"));
  CHECK(why(R"({"cniVersion": "1.0.0", "name": "a", "plugins": {}})") == "'plugins' is not a list");
  CHECK(why(R"({"cniVersion": "1.0.0", "name": "a", "plugins": [{}]})") == "a plugin without 'type'");
  CHECK(why(R"({"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "../sh"}]})") ==
        "'type' '../sh' is not the name of a program");
  CHECK(why(R"({"cniVersion": 1, "name": "a"})") == "'cniVersion' is not a string");
  CHECK(why(R"({"cniVersion": "1.0.0", "name": "a", "disableCheck": 3})") ==
        "'disableCheck' is neither true nor false");
  std::string many = R"({"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "a"})";
  for (int i = 0; i < 40; ++i) many += R"(,{"type": "a"})";
  CHECK(why(many + "]}") == "'plugins' has more than 32 elements");
}

TEST_CASE("cni: what a plugin is given") {
  auto list = parse_cni_list(kBridge);
  REQUIRE(list);
  CHECK(cni_plugin_input(*list, list->plugins[1], {{"runtimeConfig", "{\"x\":[1]}"}, {"prevResult", "{}"}}) ==
        R"({"capabilities":{"portMappings": true},"cniVersion":"1.0.0","name":"blue","prevResult":{},)"
        R"("runtimeConfig":{"x":[1]},"type":"portmap"})");
  // What the file says of these two is never passed on.
  CHECK(cni_plugin_input(*list, list->plugins[1], {}).find("runtimeConfig") == std::string::npos);
}

TEST_CASE("cni: results") {
  auto result = parse_cni_result(R"({"cniVersion": "1.0.0",
    "interfaces": [{"name": "b0", "mac": "00:00:00:00:00:01"}, {"name": "veth1", "mac": "00:00:00:00:00:02"},
                   {"name": "eth0", "mac": "00:00:00:00:00:03", "sandbox": "/run/x"}],
    "ips": [{"interface": 0, "address": "10.1.0.1/16"}, {"interface": 2, "address": "10.1.0.7/16", "gateway": "10.1.0.1"},
            {"address": "fd00::7/64"}],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.0.0.0/8", "gw": "10.1.0.9"}],
    "dns": {"nameservers": ["10.1.0.53"], "search": ["x.test"]}})",
                                 "eth0");
  REQUIRE(result);
  CHECK(result->host_interface == "veth1");
  CHECK(result->mac == "00:00:00:00:00:03");
  REQUIRE(result->first(false) != nullptr);
  CHECK(result->first(false)->address == "10.1.0.7");
  CHECK(result->first(false)->prefix == 16);
  CHECK(result->first(false)->gateway == "10.1.0.1");
  REQUIRE(result->first(true) != nullptr);
  CHECK(result->first(true)->address == "fd00::7");
  CHECK(result->default_route);
  CHECK_FALSE(result->default_route6);
  CHECK(result->name_servers == std::vector<std::string>{"10.1.0.53"});
  CHECK(result->search == std::vector<std::string>{"x.test"});
  CHECK(parse_cni_result("{}", "eth0"));
  CHECK_FALSE(parse_cni_result("", "eth0"));
  CHECK_FALSE(parse_cni_result("{} {}", "eth0"));
  CHECK_FALSE(parse_cni_result(R"({"ips": [{"address": "10.1.0.7"}]})", "eth0"));
  CHECK_FALSE(parse_cni_result(R"({"ips": [{"address": "10.1.0.7/400"}]})", "eth0"));
}

TEST_CASE("cni: errors become one sentence") {
  CHECK(cni_error_sentence(R"({"code": 11, "msg": "try again", "details": "a\nb"})") == "try again: a b (code 11)");
  CHECK(cni_error_sentence(R"({"code": 999, "msg": "no room"})") == "no room (code 999)");
  CHECK(cni_error_sentence(R"({"code": 7})") == "no message (code 7)");
  CHECK(cni_error_sentence("panic: oh no") == "");
  CHECK(cni_error_sentence(R"({"msg": "no code"})") == "");
  CHECK(cni_one_line("  a\x1b[31m\n\n\tb  ") == "a [31m b");
  CHECK(cni_one_line(std::string(2000, 'x')).size() == 1003);
}

static Result<std::string> shell(const CniRunner& runner, const std::string& script) {
  CniCall call{"ADD", "id", "", "eth0", "", script};
  return runner.run("sh", call);  // reads its stdin
}

TEST_CASE("cni: a plugin's output, status, limit and time") {
  CniRunner runner;
  runner.directories = {"/nonexistent", "/bin"};
  auto said = shell(runner, "echo $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME ${CNI_NETNS-none} $CNI_PATH");
  REQUIRE(said);
  CHECK(*said == "ADD id eth0 none /nonexistent:/bin\n");
  auto failed = shell(runner, R"(echo '{"code": 5, "msg": "five"}'; exit 1)");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message == "five (code 5)");
  failed = shell(runner, "echo one >&2; echo two >&2; exit 3");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message == "it ended with status 3: one two");
  failed = shell(runner, "kill -9 $$");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message == "it was ended by signal 9");
  runner.max_output = 1000;
  failed = shell(runner, "while :; do echo 0123456789; done");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message == "it wrote more than 1000 bytes");
  // A child of the plugin that keeps its pipes is not waited for.
  CHECK(shell(runner, "while :; do read line || exit; done & echo done"));
  runner.timeout_ms = 1;
  failed = shell(runner, "while :; do :; done");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().kind == ErrorKind::kTimeout);
  auto missing = runner.run("no-such-plugin", {});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message == "there is no program of that name in /nonexistent:/bin");
}

}  // namespace caisson::engine
