// SPDX-License-Identifier: Apache-2.0
#include "engine/hook_files.h"

#include <doctest/doctest.h>

namespace caisson::engine {
namespace {

ContainerRecord container() {
  ContainerRecord record;
  record.path = "/usr/bin/python3";
  record.host_config.annotations = {{"com.example.gpu", "yes"}};
  record.mounts.push_back({.type = "bind", .source = "/a", .destination = "/b"});
  return record;
}

std::string file(const std::string& when, const std::string& stages = "\"prestart\"", const std::string& more = "") {
  return R"({"version": "1.0.0", "hook": {"path": "/bin/hook")" + more + R"(}, "when": )" + when + ", \"stages\": [" +
         stages + "]}";
}

bool is_taken(const std::string& when) {
  spec::OciHooks hooks;
  REQUIRE(add_hook(file(when), container(), hooks).has_value());
  return !hooks.prestart.empty();
}

TEST_CASE("hook files: which containers they are for") {
  CHECK(is_taken(R"({"always": true})"));
  CHECK_FALSE(is_taken(R"({"always": false})"));
  CHECK(is_taken(R"({"hasBindMounts": true})"));
  CHECK_FALSE(is_taken(R"({"hasBindMounts": false})"));
  CHECK(is_taken(R"({"commands": ["ruby", "/python3$"]})"));
  CHECK_FALSE(is_taken(R"({"commands": ["^python3$"]})"));
  CHECK(is_taken(R"({"annotations": {"^com.example.gpu$": "yes|on"}})"));
  CHECK_FALSE(is_taken(R"({"annotations": {"^com.example.gpu$": "^no$"}})"));
  CHECK_FALSE(is_taken(R"({"annotations": {"gpu": "yes"}, "commands": ["ruby"]})"));
}

TEST_CASE("hook files: stages and time limits") {
  spec::OciHooks hooks;
  REQUIRE(
      add_hook(file(R"({"always": true})", R"("poststop", "createRuntime")", R"(, "timeout": 7)"), container(), hooks));
  REQUIRE(hooks.poststop.size() == 1);
  REQUIRE(hooks.create_runtime.size() == 1);
  CHECK(hooks.poststop[0].timeout == 7);
  REQUIRE(add_hook(file(R"({"always": true})"), container(), hooks));
  CHECK(hooks.prestart.at(0).timeout == 10);
}

TEST_CASE("hook files: what is refused") {
  spec::OciHooks hooks;
  for (const std::string& text :
       {std::string("{"), std::string("[]"), file("{}", ""), file(R"({"always": true})", "\"never\""),
        file(R"({"always": true})", "\"prestart\"", R"(, "timeout": 0)"),
        file(R"({"always": true})", "\"prestart\"", R"(, "timeout": 100000)"),
        std::string(
            R"({"version": "1.0.0", "hook": {"path": "bin/x"}, "when": {"always": true}, "stages": ["prestart"]})"),
        std::string(
            R"({"version": "0.1.0", "hook": {"path": "/bin/x"}, "when": {"always": true}, "stages": ["prestart"]})"),
        std::string(R"({"version": "1.0.0", "hook": {"path": "/bin/x"}, "stages": ["prestart"]})")})
    CHECK_MESSAGE(!add_hook(text, container(), hooks), text);
  CHECK(hooks.prestart.empty());
}

}  // namespace
}  // namespace caisson::engine
