// SPDX-License-Identifier: Apache-2.0
// container prune.
#include "base/text.h"
#include "cli/command.h"
#include "cli/container_checks.h"
#include "cli/containers.h"
#include "cli/json_value.h"
#include "cli/units.h"
#include "sys/files.h"

namespace caisson::cli {

namespace {

constexpr std::string_view kWarning =
    "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ";

// The line that was typed; "" at the end of the input.
std::string read_answer() {
  std::string line;
  char byte;
  while (line.size() < 256) {
    auto got = sys::FdSource(0).read({&byte, 1});
    if (!got || *got == 0 || byte == '\n') break;
    line += byte;
  }
  return to_lower(trim(line));
}

Result<int> prune(App& app, const Invocation& call) {
  if (!call.flags.on("force")) {
    app.out.print(kWarning);
    app.out.flush();
    // Not an error: it is what was asked for.
    if (read_answer() != "y") return 0;
  }
  http::Query query;
  if (std::string filters = filters_json(call.flags.list("filter")); !filters.empty()) query.add("filters", filters);
  auto response = TRY(app.engine().post("/containers/prune", query));
  JsonValue report = TRY(JsonValue::parse(response.body));
  const auto& deleted = report.at("ContainersDeleted").items();
  if (!deleted.empty()) {
    app.out.line("Deleted Containers:");
    for (const JsonValue& id : deleted) app.out.line(id.text());
    app.out.line("");
  }
  app.out.line("Total reclaimed space: " + human_size(static_cast<double>(report.at("SpaceReclaimed").as_int())));
  return 0;
}

constexpr FlagSpec kPruneFlags[] = {
    {.name = "filter",
     .kind = FlagKind::kList,
     .type_name = "filter",
     .usage = "Provide filter values (e.g. \"until=<timestamp>\")",
     .check = check_filter},
    {.name = "force", .shorthand = 'f', .usage = "Do not prompt for confirmation"},
};

}  // namespace

std::span<const Command> container_prune_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container prune",
       .usage = "[OPTIONS]",
       .summary = "Remove all stopped containers",
       .flags = kPruneFlags,
       .function = prune},
  };
  return kCommands;
}

}  // namespace caisson::cli
