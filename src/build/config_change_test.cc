// SPDX-License-Identifier: Apache-2.0
#include "build/config_change.h"

#include <doctest/doctest.h>

namespace caisson::build {
namespace {

spec::ContainerConfig changed(std::initializer_list<const char*> lines, spec::ContainerConfig config = {}) {
  for (const char* line : lines) {
    auto done = apply_change(config, line);
    CHECK_MESSAGE(done.has_value(), line);
  }
  return config;
}

std::string refused(const char* line) {
  spec::ContainerConfig config;
  auto done = apply_change(config, line);
  return done ? "" : done.error().message;
}

using Words = std::vector<std::string>;

TEST_CASE("change: commands in both forms") {
  CHECK(changed({R"(CMD ["date", "-u"])"}).cmd.items == Words{"date", "-u"});
  CHECK(changed({"cmd date -u  "}).cmd.items == Words{"/bin/sh", "-c", "date -u"});
  CHECK(changed({R"(ENTRYPOINT ["/a b"])"}).entrypoint.items == Words{"/a b"});
  // No array of strings after all: a line for the shell.
  CHECK(changed({"CMD [1, 2]"}).cmd.items == Words{"/bin/sh", "-c", "[1, 2]"});
  spec::ContainerConfig config;
  config.shell = {.items = {"/bin/bash", "-ec"}, .present = true};
  CHECK(changed({"CMD x"}, config).cmd.items == Words{"/bin/bash", "-ec", "x"});
}

TEST_CASE("change: variables and labels") {
  CHECK(changed({"ENV A=1 B=\"x y\" C='z' D=p\\ q"}).env == Words{"A=1", "B=x y", "C=z", "D=p q"});
  CHECK(changed({"ENV A some words"}).env == Words{"A=some words"});
  CHECK(changed({"ENV A=1", "ENV AB=2", "ENV A=3"}).env == Words{"A=3", "AB=2"});
  auto labels = changed({"LABEL a=b \"c d\"=\"e f\""}).labels;
  CHECK(labels.at("a") == "b");
  CHECK(labels.at("c d") == "e f");
}

TEST_CASE("change: the rest") {
  auto config = changed({"EXPOSE 80 53/udp 8000-8002", "USER app:app", "WORKDIR /srv", "WORKDIR data", "STOPSIGNAL INT",
                         "VOLUME /a /b", "VOLUME [\"/c d\"]", "ONBUILD RUN make"});
  CHECK(config.exposed_ports.size() == 5);
  CHECK(config.exposed_ports.contains("8001/tcp"));
  CHECK(config.exposed_ports.contains("53/udp"));
  CHECK(config.user == "app:app");
  CHECK(config.working_dir == "/srv/data");
  CHECK(config.stop_signal == "INT");
  CHECK(config.volumes.contains("/c d"));
  CHECK(config.volumes.size() == 3);
  CHECK(config.on_build == Words{"RUN make"});
}

TEST_CASE("change: health checks") {
  auto health = changed({"HEALTHCHECK --interval=1m30s --retries=3 --timeout=200ms CMD curl -f http://x"}).healthcheck;
  REQUIRE(health);
  CHECK(health->test == Words{"CMD-SHELL", "curl -f http://x"});
  CHECK(health->interval == 90'000'000'000);
  CHECK(health->timeout == 200'000'000);
  CHECK(health->retries == 3);
  CHECK(changed({"HEALTHCHECK NONE"}).healthcheck->test == Words{"NONE"});
  CHECK(changed({R"(HEALTHCHECK CMD ["a", "b"])"}).healthcheck->test == Words{"CMD", "a", "b"});
}

TEST_CASE("change: what is refused, and how") {
  CHECK(refused("RUN make") == "RUN is not a valid change command");
  CHECK(refused("") == " is not a valid change command");
  CHECK(refused("ENV") == "ENV requires at least one argument");
  CHECK(refused("ENV A") == "ENV must have two arguments");
  CHECK(refused("ENV A=1 B") == "Syntax error - can't find = in 'B'. Must be of the form: name=value");
  CHECK(refused("ENV =1") == "ENV names can not be blank");
  CHECK(refused("EXPOSE x") == "invalid containerPort: 'x'");
  CHECK(refused("EXPOSE 70000") != "");
  CHECK(refused("EXPOSE 9-8") != "");
  CHECK(refused("EXPOSE 80/icmp") != "");
  CHECK(refused("USER a b") == "USER requires exactly one argument");
  CHECK(refused("ONBUILD ONBUILD RUN x") == "ONBUILD may not be chained");
  CHECK(refused("ONBUILD FROM x") == "FROM isn't allowed as an ONBUILD trigger");
  CHECK(refused("HEALTHCHECK --interval=x CMD a") == "HEALTHCHECK --interval: invalid duration");
  CHECK(refused("HEALTHCHECK --what=1 CMD a") == "unknown flag: --what");
  CHECK(refused("HEALTHCHECK CMD") == "HEALTHCHECK missing command after CMD");
  CHECK(refused("VOLUME [\"\"]") == "VOLUME specified can not be an empty string");
  CHECK(refused(std::string(70000, 'a').c_str()) != "");
}

}  // namespace
}  // namespace caisson::build
