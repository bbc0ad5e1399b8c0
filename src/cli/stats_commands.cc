// SPDX-License-Identifier: Apache-2.0
// stats.
#include <algorithm>

#include "base/text.h"
#include "cli/client_config.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/listing.h"
#include "cli/stats_rows.h"

namespace caisson::cli {

namespace {

constexpr std::string_view kStatsTable =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

std::span<const Column> stats_columns() {
  static constexpr Column kColumns[] = {
      {"BlockIO", "BLOCK I/O"}, {"CPUPerc", "CPU %"}, {"Container", "CONTAINER"},
      {"ID", "CONTAINER ID"},   {"MemPerc", "MEM %"}, {"MemUsage", "MEM USAGE / LIMIT"},
      {"Name", "NAME"},         {"NetIO", "NET I/O"}, {"PIDs", "PIDS"}};
  return kColumns;
}

Result<std::vector<std::string>> names_of(App& app, const Invocation& call) {
  if (!call.args.empty()) return call.args;
  http::Query query;
  if (call.flags.on("all")) query.add("all", "1");
  auto response = TRY(app.engine().get("/containers/json", query));
  JsonValue containers = TRY(JsonValue::parse(response.body));
  std::vector<std::string> out;
  for (const JsonValue& container : containers.items()) out.push_back(short_id(container.at("Id").text()));
  return out;
}

// One sample of each container; what vanished meanwhile is left out unless it was asked for by name.
Result<> add_rows(App& app, const Invocation& call, const std::vector<std::string>& names, Listing& listing) {
  std::vector<JsonValue> samples(names.size());
  auto outcomes = run_for_all(app, names, [&](Engine& engine, const std::string& name) -> Result<> {
    http::Query query;
    query.add("stream", "0");
    auto response = TRY(engine.get("/containers/" + segment(name) + "/stats", query));
    // Each call has an element of its own.
    samples[static_cast<size_t>(&name - names.data())] = TRY(JsonValue::parse(response.body));
    return {};
  });
  std::string errors;
  for (size_t i = 0; i < names.size(); ++i) {
    if (outcomes[i])
      TRY(listing.add(stats_row(samples[i], names[i], !call.flags.on("no-trunc"))));
    else if (!call.args.empty() || outcomes[i].error().kind != ErrorKind::kNotFound)
      errors += (errors.empty() ? "" : "\n") + outcomes[i].error().message;
  }
  if (!errors.empty()) return fail(ErrorKind::kInternal, "%s", errors.c_str());
  return {};
}

Result<int> stats(App& app, const Invocation& call) {
  std::string format = list_format(app, call.flags, "statsFormat");
  bool once = call.flags.on("no-stream");
  while (true) {
    auto names = TRY(names_of(app, call));
    Listing listing = TRY(Listing::make(format, kStatsTable, stats_columns(), "*formatter.statsContext"));
    TRY(add_rows(app, call, names, listing));
    // The screen is written over from its first line.
    if (!once && app.out.is_terminal()) app.out.print("\033[2J\033[H");
    listing.print(app.out);
    app.out.flush();
    if (once) return 0;
    if (names.empty()) wait_a_second();
  }
}

constexpr FlagSpec kStatsFlags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Show all containers (default shows just running)"},
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "no-stream", .usage = "Disable streaming stats and only pull the first result"},
    {.name = "no-trunc", .usage = "Do not truncate output"},
};

}  // namespace

std::span<const Command> stats_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container stats;stats",
       .usage = "[OPTIONS] [CONTAINER...]",
       .summary = "Display a live stream of container(s) resource usage statistics",
       .flags = kStatsFlags,
       .max_args = -1,
       .function = stats},
  };
  return kCommands;
}

}  // namespace caisson::cli
