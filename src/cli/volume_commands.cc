// SPDX-License-Identifier: Apache-2.0
// volume create, ls, rm. volume inspect and prune stand with their likes.
#include <algorithm>

#include "base/text.h"
#include "cli/client_config.h"
#include "cli/command.h"
#include "cli/container_checks.h"
#include "cli/containers.h"
#include "cli/json_value.h"
#include "cli/listing.h"

namespace caisson::cli {

namespace {

Result<int> create(App& app, const Invocation& call) {
  std::string name = call.args.empty() ? std::string(call.flags.text("name")) : call.args[0];
  JsonValue body = JsonValue::object();
  body.set("Name", name);
  body.set("Driver", std::string(call.flags.text("driver")));
  body.set("DriverOpts", string_map(call.flags.list("opt")));
  body.set("Labels", string_map(call.flags.list("label")));
  auto response = TRY(app.engine().post("/volumes/create", {}, body.dump(false)));
  app.out.line(TRY(JsonValue::parse(response.body)).at("Name").text());
  return 0;
}

Result<int> list(App& app, const Invocation& call) {
  static constexpr Column kColumns[] = {{"Driver", "DRIVER"}, {"Name", "VOLUME NAME"},          {"Scope", "SCOPE"},
                                        {"Labels", "LABELS"}, {"Mountpoint", "MOUNTPOINT"},     {"Links", "LINKS"},
                                        {"Size", "SIZE"},     {"Availability", "AVAILABILITY"}, {"Group", "GROUP"},
                                        {"Status", "STATUS"}};
  std::string format = list_format(app, call.flags, "volumesFormat");
  if (call.flags.on("quiet") && (format.empty() || format == "table")) format = "{{.Name}}";
  Listing listing = TRY(Listing::make(format, "{{.Driver}}\t{{.Name}}", kColumns, "*formatter.volumeContext"));
  http::Query query;
  if (std::string text = filters_json(call.flags.list("filter")); !text.empty()) query.add("filters", text);
  auto response = TRY(app.engine().get("/volumes", query));
  JsonValue answer = TRY(JsonValue::parse(response.body));
  for (const JsonValue& volume : answer.at("Volumes").items()) {
    JsonValue row = JsonValue::object();
    std::vector<std::string> labels;
    for (const auto& [key, value] : volume.at("Labels").members()) labels.push_back(key + "=" + value.text());
    for (const char* cluster : {"Availability", "Group", "Links", "Size", "Status"}) row.set(cluster, "N/A");
    for (const char* own : {"Driver", "Mountpoint", "Name", "Scope"}) row.set(own, volume.at(own).text());
    row.set("Labels", join(labels, ","));
    row.sort_members();
    TRY(listing.add(row, volume.at("Labels")));
  }
  listing.print(app.out);
  return 0;
}

Result<int> remove(App& app, const Invocation& call) {
  http::Query query;
  if (call.flags.on("force")) query.add("force", "1");
  return remove_objects(app, call.args, "/volumes/", query);
}

constexpr FlagSpec kCreateFlags[] = {
    {.name = "driver",
     .shorthand = 'd',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Specify volume driver name",
     .initial = "local"},
    {.name = "label",
     .kind = FlagKind::kList,
     .type_name = "list",
     .usage = "Set metadata for a volume",
     .check = check_label},
    {.name = "name", .kind = FlagKind::kString, .type_name = "string", .usage = "Specify volume name", .hidden = true},
    {.name = "opt",
     .shorthand = 'o',
     .kind = FlagKind::kList,
     .type_name = "map",
     .usage = "Set driver specific options"},
};
constexpr FlagSpec kListFlags[] = {
    {.name = "filter",
     .shorthand = 'f',
     .kind = FlagKind::kList,
     .type_name = "filter",
     .usage = "Provide filter values (e.g. \"dangling=true\")",
     .check = check_filter},
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "quiet", .shorthand = 'q', .usage = "Only display volume names"},
};
constexpr FlagSpec kRemoveFlags[] = {
    {.name = "force", .shorthand = 'f', .usage = "Force the removal of one or more volumes"},
};

}  // namespace

std::span<const Command> volume_commands() {
  static constexpr Command kCommands[] = {
      {.names = "volume create",
       .usage = "[OPTIONS] [VOLUME]",
       .summary = "Create a volume",
       .flags = kCreateFlags,
       .max_args = 1,
       .function = create},
      {.names = "volume ls;volume list",
       .usage = "[OPTIONS]",
       .summary = "List volumes",
       .flags = kListFlags,
       .function = list},
      {.names = "volume rm;volume remove",
       .usage = "[OPTIONS] VOLUME [VOLUME...]",
       .summary = "Remove one or more volumes",
       .flags = kRemoveFlags,
       .min_args = 1,
       .max_args = -1,
       .function = remove,
       .details = "Remove one or more volumes. You cannot remove a volume that is in use by a container."},
  };
  return kCommands;
}

}  // namespace caisson::cli
