// SPDX-License-Identifier: Apache-2.0
// container prune, image prune, volume prune, system prune.
#include "base/text.h"
#include "cli/command.h"
#include "cli/container_checks.h"
#include "cli/containers.h"
#include "cli/json_value.h"
#include "cli/units.h"
#include "sys/files.h"

namespace caisson::cli {

namespace {

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

bool is_confirmed(App& app, const Invocation& call, const std::string& warning) {
  if (call.flags.on("force")) return true;
  app.out.print(warning + "\nAre you sure you want to continue? [y/N] ");
  app.out.flush();
  return read_answer() == "y";
}

struct Target {
  const char* path;
  const char* list;   // member of the answer that names what went
  const char* title;  // above it
};
constexpr Target kContainers{"/containers/prune", "ContainersDeleted", "Deleted Containers:"};
constexpr Target kNetworks{"/networks/prune", "NetworksDeleted", "Deleted Networks:"};
constexpr Target kVolumes{"/volumes/prune", "VolumesDeleted", "Deleted Volumes:"};
constexpr Target kImages{"/images/prune", "ImagesDeleted", "Deleted Images:"};
constexpr Target kCache{"/build/prune", "CachesDeleted", "Deleted build cache objects:"};

// Prints what went; the bytes that are free now.
Result<int64_t> prune_one(App& app, const Target& target, const std::vector<std::string>& filters, bool all = false) {
  http::Query query;
  if (std::string text = filters_json(filters); !text.empty()) query.add("filters", text);
  if (all) query.add("all", "1");
  auto response = TRY(app.engine().post(target.path, query));
  JsonValue report = TRY(JsonValue::parse(response.body));
  const auto& deleted = report.at(target.list).items();
  if (!deleted.empty()) {
    app.out.line(target.title);
    for (const JsonValue& entry : deleted) {
      if (entry.is_string())
        app.out.line(entry.text());
      else if (entry.at("Untagged").is_string())
        app.out.line("untagged: " + entry.at("Untagged").text());
      else
        app.out.line("deleted: " + entry.at("Deleted").text());
    }
    app.out.line("");
  }
  return report.at("SpaceReclaimed").as_int();
}

int tell_total(App& app, int64_t bytes) {
  app.out.line("Total reclaimed space: " + human_size(static_cast<double>(bytes)));
  return 0;
}

// What a prune would take, and why; nothing is changed.
Result<int> tell_plan(App& app, const std::string& types, const std::vector<std::string>& filters,
                      bool all_volumes = false) {
  http::Query query;
  query.add("types", types);
  if (std::string text = filters_json(filters); !text.empty()) query.add("filters", text);
  if (all_volumes) query.add("all-volumes", "1");
  auto response = TRY(app.engine().get("/caisson/prunable", query));
  JsonValue plan = TRY(JsonValue::parse(response.body));
  for (const char* kind : {"Containers", "Images", "Volumes"})
    for (const JsonValue& entry : plan.at(kind).items()) {
      std::vector<std::string> names;
      for (const JsonValue& name : entry.at("Names").items()) names.push_back(name.text());
      std::string what = to_lower(std::string_view(kind).substr(0, std::string_view(kind).size() - 1));
      app.out.line(what + " " + (names.empty() ? short_id(entry.at("Id").text()) : join(names, ", ")) + ": " +
                   entry.at("Reason").text() + ", " + human_size(entry.at("Size").as_double()));
    }
  app.out.line("Would reclaim: " + human_size(plan.at("SpaceReclaimable").as_double()));
  return 0;
}

Result<int> prune_containers(App& app, const Invocation& call) {
  if (!is_confirmed(app, call, "WARNING! This will remove all stopped containers.")) return 0;
  return tell_total(app, TRY(prune_one(app, kContainers, call.flags.list("filter"))));
}

// No sum: networks take no room.
Result<int> prune_networks(App& app, const Invocation& call) {
  if (!is_confirmed(app, call, "WARNING! This will remove all custom networks not used by at least one container."))
    return 0;
  TRY(prune_one(app, kNetworks, call.flags.list("filter")));
  return 0;
}

std::vector<std::string> with(std::vector<std::string> filters, const char* more) {
  filters.emplace_back(more);
  return filters;
}

Result<int> prune_images(App& app, const Invocation& call) {
  bool all = call.flags.on("all");
  if (call.flags.on("dry-run"))
    return tell_plan(app, "images", with(call.flags.list("filter"), all ? "dangling=false" : "dangling=true"));
  const char* warning = all ? "WARNING! This will remove all images without at least one container associated to them."
                            : "WARNING! This will remove all dangling images.";
  if (!is_confirmed(app, call, warning)) return 0;
  auto filters = with(call.flags.list("filter"), all ? "dangling=false" : "dangling=true");
  return tell_total(app, TRY(prune_one(app, kImages, filters)));
}

Result<int> prune_volumes(App& app, const Invocation& call) {
  bool all = call.flags.on("all");
  auto filters = call.flags.list("filter");
  if (all) filters.emplace_back("all=true");
  const char* warning = all ? "WARNING! This will remove all local volumes not used by at least one container."
                            : "WARNING! This will remove anonymous local volumes not used by at least one container.";
  if (!is_confirmed(app, call, warning)) return 0;
  return tell_total(app, TRY(prune_one(app, kVolumes, filters)));
}

Result<int> prune_system(App& app, const Invocation& call) {
  bool all = call.flags.on("all"), volumes = call.flags.on("volumes");
  auto filters = call.flags.list("filter");
  for (const std::string& filter : filters)
    if (volumes && filter.starts_with("until="))
      return fail(ErrorKind::kInvalid, "ERROR: The \"until\" filter is not supported with \"--volumes\"");
  if (call.flags.on("dry-run"))
    return tell_plan(app, volumes ? "containers,images,volumes" : "containers,images",
                     with(filters, all ? "dangling=false" : "dangling=true"));
  std::string warning =
      "WARNING! This will remove:\n"
      "  - all stopped containers\n"
      "  - all networks not used by at least one container\n";
  if (volumes) warning += "  - all anonymous volumes not used by at least one container\n";
  warning += all ? "  - all images without at least one container associated to them\n  - all build cache\n"
                 : "  - all dangling images\n  - unused build cache\n";
  if (!filters.empty()) {
    warning += "\n  Items to be pruned will be filtered with:\n";
    for (const std::string& filter : filters) warning += "  - " + filter + "\n";
  }
  if (!is_confirmed(app, call, warning)) return 0;
  int64_t total = TRY(prune_one(app, kContainers, filters));
  TRY(prune_one(app, kNetworks, filters));
  if (volumes) total += TRY(prune_one(app, kVolumes, filters));
  total += TRY(prune_one(app, kImages, with(filters, all ? "dangling=false" : "dangling=true")));
  total += TRY(prune_one(app, kCache, filters, all));
  return tell_total(app, total);
}

constexpr FlagSpec kFilter = {.name = "filter",
                              .kind = FlagKind::kList,
                              .type_name = "filter",
                              .usage = "Provide filter values (e.g. \"until=<timestamp>\")",
                              .check = check_filter};
constexpr FlagSpec kLabelFilter = {.name = "filter",
                                   .kind = FlagKind::kList,
                                   .type_name = "filter",
                                   .usage = "Provide filter values (e.g. \"label=<label>\")",
                                   .check = check_filter};
constexpr FlagSpec kDryRun = {.name = "dry-run", .usage = "Only tell what would go, and why"};
constexpr FlagSpec kForce = {.name = "force", .shorthand = 'f', .usage = "Do not prompt for confirmation"};

constexpr FlagSpec kContainerFlags[] = {kFilter, kForce};
constexpr FlagSpec kImageFlags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Remove all unused images, not just dangling ones"},
    kDryRun,
    kFilter,
    kForce};
constexpr FlagSpec kVolumeFlags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Remove all unused volumes, not just anonymous ones"},
    kLabelFilter,
    kForce};
constexpr FlagSpec kSystemFlags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Remove all unused images not just dangling ones"},
    kDryRun,
    kLabelFilter,
    kForce,
    {.name = "volumes", .usage = "Prune anonymous volumes"}};

}  // namespace

std::span<const Command> prune_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container prune",
       .usage = "[OPTIONS]",
       .summary = "Remove all stopped containers",
       .flags = kContainerFlags,
       .function = prune_containers},
      {.names = "image prune",
       .usage = "[OPTIONS]",
       .summary = "Remove unused images",
       .flags = kImageFlags,
       .function = prune_images},
      {.names = "network prune",
       .usage = "[OPTIONS]",
       .summary = "Remove all unused networks",
       .flags = kContainerFlags,
       .function = prune_networks},
      {.names = "volume prune",
       .usage = "[OPTIONS]",
       .summary = "Remove unused local volumes",
       .flags = kVolumeFlags,
       .function = prune_volumes},
      {.names = "system prune",
       .usage = "[OPTIONS]",
       .summary = "Remove unused data",
       .flags = kSystemFlags,
       .function = prune_system},
  };
  return kCommands;
}

}  // namespace caisson::cli
