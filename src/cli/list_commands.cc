// SPDX-License-Identifier: Apache-2.0
// ps.
#include <algorithm>

#include "base/text.h"
#include "cli/client_config.h"
#include "cli/command.h"
#include "cli/container_checks.h"
#include "cli/container_rows.h"
#include "cli/containers.h"
#include "cli/listing.h"

namespace caisson::cli {

namespace {

constexpr std::string_view kTable =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

Result<int> list_containers(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  std::string format = list_format(app, flags, "psFormat");
  if (flags.on("quiet") && (format.empty() || format == "table")) format = "{{.ID}}";
  std::string table(kTable);
  if (flags.on("size")) table += "\t{{.Size}}";
  Listing listing = TRY(Listing::make(format, table, container_columns(), "*formatter.ContainerContext"));
  http::Query query;
  int64_t limit = flags.on("latest") ? 1 : flags.integer("last");
  if (flags.on("all")) query.add("all", "1");
  if (std::string filters = filters_json(flags.list("filter")); !filters.empty()) query.add("filters", filters);
  if (limit > 0) query.add("limit", std::to_string(limit));
  if (flags.on("size") || (!format.empty() && listing.mentions("Size"))) query.add("size", "1");
  auto response = TRY(app.engine().get("/containers/json", query));
  JsonValue containers = TRY(JsonValue::parse(response.body));
  for (const JsonValue& container : containers.items())
    TRY(listing.add(container_row(container, !flags.on("no-trunc")), container.at("Labels")));
  listing.print(app.out);
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Show all containers (default shows just running)"},
    {.name = "filter",
     .shorthand = 'f',
     .kind = FlagKind::kList,
     .type_name = "filter",
     .usage = "Filter output based on conditions provided",
     .check = check_filter},
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "last",
     .shorthand = 'n',
     .kind = FlagKind::kInt,
     .type_name = "int",
     .usage = "Show n last created containers (includes all states) (default -1)",
     .initial = "-1"},
    {.name = "latest", .shorthand = 'l', .usage = "Show the latest created container (includes all states)"},
    {.name = "no-trunc", .usage = "Don't truncate output"},
    {.name = "quiet", .shorthand = 'q', .usage = "Only display container IDs"},
    {.name = "size", .shorthand = 's', .usage = "Display total file sizes"},
};

}  // namespace

std::span<const Command> list_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container ls;container list;container ps;ps",
       .usage = "[OPTIONS]",
       .summary = "List containers",
       .flags = kFlags,
       .function = list_containers},
  };
  return kCommands;
}

}  // namespace caisson::cli
