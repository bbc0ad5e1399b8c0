// SPDX-License-Identifier: Apache-2.0
// events.
#include <algorithm>
#include <ctime>

#include "base/clock.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/container_checks.h"
#include "cli/containers.h"
#include "cli/listing.h"
#include "cli/progress.h"
#include "cli/units.h"

namespace caisson::cli {

namespace {

// "2024-05-01T12:20:30.123456789+02:00": local time, always nine digits.
std::string local_timestamp(int64_t ns) {
  time_t seconds = static_cast<time_t>(ns / 1000000000);
  tm parts{};
  localtime_r(&seconds, &parts);
  char date[64], zone[16];
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
  strftime(zone, sizeof zone, "%z", &parts);
  std::string offset = zone;
  offset = parts.tm_gmtoff == 0 ? "Z" : offset.substr(0, 3) + ":" + offset.substr(3);
  return format("%s.%09lld%s", date, static_cast<long long>(ns % 1000000000), offset.c_str());
}

std::string event_text(const JsonValue& event) {
  std::string out;
  if (int64_t nano = event.at("timeNano").as_int())
    out = local_timestamp(nano) + " ";
  else if (int64_t time = event.at("time").as_int())
    out = local_timestamp(time * 1000000000) + " ";
  const JsonValue& actor = event.at("Actor");
  out += event.at("Type").text() + " " + event.at("Action").text() + " " + actor.at("ID").text();
  std::vector<std::string> attributes;
  for (const auto& [name, value] : actor.at("Attributes").members()) attributes.push_back(name + "=" + value.text());
  std::sort(attributes.begin(), attributes.end());
  if (!attributes.empty()) out += " (" + join(attributes, ", ") + ")";
  return out;
}

Result<int> events(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  http::Query query;
  if (std::string filters = filters_json(flags.list("filter")); !filters.empty()) query.add("filters", filters);
  for (const char* name : {"since", "until"})
    if (!flags.text(name).empty()) query.add(name, TRY(timestamp_param(flags.text(name), now_ns())));
  std::string format(flags.text("format"));
  Engine::Stream stream = TRY(app.engine().open({.path = "/events", .query = query}));
  TRY(each_message(stream, [&](const JsonValue& event) -> Result<> {
    if (format.empty())
      app.out.line(event_text(event));
    else if (format == "json")
      app.out.line(event.dump(true));
    else
      app.out.line(TRY(format_one(format, event)));
    app.out.flush();
    return {};
  }));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "filter",
     .shorthand = 'f',
     .kind = FlagKind::kList,
     .type_name = "filter",
     .usage = "Filter output based on conditions provided",
     .check = check_filter},
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatUsage},
    {.name = "since",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Show all events created since timestamp"},
    {.name = "until", .kind = FlagKind::kString, .type_name = "string", .usage = "Stream events until this timestamp"},
};

}  // namespace

std::span<const Command> events_commands() {
  static constexpr Command kCommands[] = {
      {.names = "system events;events",
       .usage = "[OPTIONS]",
       .summary = "Get real time events from the server",
       .flags = kFlags,
       .function = events},
  };
  return kCommands;
}

}  // namespace caisson::cli
