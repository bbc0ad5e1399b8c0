// SPDX-License-Identifier: Apache-2.0
// container clone: another container made as the first one was. Docker has no such command; podman has.
#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/json_value.h"

namespace caisson::cli {

namespace {

constexpr FlagSpec kFlags[] = {
    {.name = "destroy", .usage = "Remove the original container when the copy has been made"},
    {.name = "force", .shorthand = 'f', .usage = "With --destroy: also when the original runs"},
    {.name = "name",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Name of the new container (default: the original's with \"-clone\" behind it)"},
    {.name = "run", .usage = "Start the new container"},
};

// What can be there only once stays with the original.
JsonValue copied_config(const JsonValue& original) {
  JsonValue config = original.at("Config");
  if (config.at("Hostname").text() == short_id(original.at("Id").text())) config.set("Hostname", "");
  config.set("MacAddress", "");
  JsonValue host = original.at("HostConfig");
  host.set("ContainerIDFile", "");
  config.set("HostConfig", host);
  return config;
}

Result<int> copy_container(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  if (flags.on("force") && !flags.on("destroy"))
    return fail(ErrorKind::kInvalid, "cannot set --force without --destroy");
  std::string name(flags.text("name"));
  if (call.args.size() > 1) {
    if (!name.empty()) return fail(ErrorKind::kInvalid, "the new name is given twice, as an argument and by --name");
    name = call.args[1];
  }
  JsonValue original = TRY(inspect_container(app, call.args[0]));
  std::string id = original.at("Id").text();
  bool is_running = original.at("State", "Running").as_bool();
  if (flags.on("destroy") && is_running && !flags.on("force"))
    return fail(ErrorKind::kConflict, "container %s is running; it is destroyed only with --force",
                short_id(id).c_str());
  JsonValue config = copied_config(original);
  if (call.args.size() > 2) config.set("Image", call.args[2]);
  if (name.empty()) name = original.at("Name").text().substr(1) + "-clone";
  http::Query query;
  query.add("name", name);
  auto response = TRY(app.engine().post("/containers/create", query, config.dump()));
  std::string made = TRY(JsonValue::parse(response.body)).at("Id").text();
  if (flags.on("destroy")) {
    http::Query removal;
    if (flags.on("force")) removal.add("force", "1");
    TRY(app.engine().call("DELETE", "/containers/" + id, removal));
  }
  if (flags.on("run")) TRY(app.engine().post("/containers/" + made + "/start"));
  app.out.line(made);
  return 0;
}

}  // namespace

std::span<const Command> clone_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container clone",
       .usage = "[OPTIONS] CONTAINER [NAME [IMAGE]]",
       .summary = "Create a container with the configuration of another",
       .flags = kFlags,
       .min_args = 1,
       .max_args = 3,
       .function = copy_container},
  };
  return kCommands;
}

}  // namespace caisson::cli
