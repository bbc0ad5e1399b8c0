// SPDX-License-Identifier: Apache-2.0
// system df.
#include <algorithm>

#include "base/text.h"
#include "cli/command.h"
#include "cli/container_rows.h"
#include "cli/containers.h"
#include "cli/image_rows.h"
#include "cli/listing.h"
#include "cli/table.h"
#include "cli/units.h"

namespace caisson::cli {

namespace {

struct Usage {
  const char* type;
  size_t total = 0, active = 0;
  int64_t size = 0, reclaimable = 0;
  bool percent = true;
};

std::string reclaimable_text(const Usage& usage) {
  std::string out = human_size(static_cast<double>(usage.reclaimable));
  if (usage.percent && usage.size > 0)
    out += format(" (%lld%%)", static_cast<long long>(usage.reclaimable * 100 / usage.size));
  return out;
}

Usage image_usage(const JsonValue& df) {
  Usage out{.type = "Images", .size = df.at("LayersSize").as_int()};
  int64_t used = 0;
  for (const JsonValue& image : df.at("Images").items()) {
    ++out.total;
    if (image.at("Containers").as_int() == 0) continue;
    ++out.active;
    int64_t size = image.at("Size").as_int(), shared = image.at("SharedSize").as_int();
    if (size != -1 && shared != -1) used += size - shared;
  }
  out.reclaimable = out.size - used;
  return out;
}

bool is_active(const std::string& state) {
  return state.find("running") != state.npos || state.find("paused") != state.npos ||
         state.find("restarting") != state.npos;
}

Usage container_usage(const JsonValue& df) {
  Usage out{.type = "Containers"};
  for (const JsonValue& container : df.at("Containers").items()) {
    int64_t size = container.at("SizeRw").as_int();
    ++out.total;
    out.size += size;
    if (is_active(container.at("State").text()))
      ++out.active;
    else
      out.reclaimable += size;
  }
  return out;
}

Usage volume_usage(const JsonValue& df) {
  Usage out{.type = "Local Volumes"};
  for (const JsonValue& volume : df.at("Volumes").items()) {
    const JsonValue& usage = volume.at("UsageData");
    int64_t size = usage.at("Size").as_int(), links = usage.at("RefCount").as_int();
    ++out.total;
    if (links > 0) ++out.active;
    if (size == -1) continue;
    out.size += size;
    if (links == 0) out.reclaimable += size;
  }
  return out;
}

Usage cache_usage(const JsonValue& df) {
  Usage out{.type = "Build Cache", .percent = false};
  for (const JsonValue& record : df.at("BuildCache").items()) {
    ++out.total;
    if (record.at("InUse").as_bool()) ++out.active;
    if (record.at("Shared").as_bool()) continue;
    out.size += record.at("Size").as_int();
    if (!record.at("InUse").as_bool()) out.reclaimable += record.at("Size").as_int();
  }
  return out;
}

// Not among Docker's rows: what the containers' logs take. They go with their container or by `logs --clear`.
Usage log_usage(const JsonValue& df) {
  Usage out{.type = "Container Logs", .percent = false};
  out.size = df.at("LogsSize").as_int();
  out.total = df.at("Containers").items().size();
  for (const JsonValue& container : df.at("Containers").items()) out.active += is_active(container.at("State").text());
  return out;
}

// What is in the store and in no image.
Usage rest_usage(const JsonValue& df) {
  Usage out{.type = "Other Data", .percent = false};
  for (const char* part : {"OtherBlobsSize", "PartialSize", "CopiesSize"}) {
    out.size += df.at(part).as_int();
    out.total += df.at(part).as_int() > 0;
  }
  return out;
}

constexpr Column kColumns[] = {
    {"Type", "TYPE"}, {"TotalCount", "TOTAL"}, {"Active", "ACTIVE"}, {"Size", "SIZE"}, {"Reclaimable", "RECLAIMABLE"}};

struct Detail {
  JsonValue images = JsonValue::array(), containers = JsonValue::array(), volumes = JsonValue::array(),
            cache = JsonValue::array();
};

JsonValue volume_row(const JsonValue& volume) {
  JsonValue row = JsonValue::object();
  const JsonValue& usage = volume.at("UsageData");
  std::vector<std::string> labels;
  for (const auto& [name, value] : volume.at("Labels").members()) labels.push_back(name + "=" + value.text());
  for (const char* cluster : {"Availability", "Group"}) row.set(cluster, "N/A");
  row.set("Driver", volume.at("Driver").text());
  row.set("Labels", join(labels, ","));
  row.set("Links", usage.is_null() ? "N/A" : usage.at("RefCount").text());
  row.set("Mountpoint", volume.at("Mountpoint").text());
  row.set("Name", volume.at("Name").text());
  row.set("Scope", volume.at("Scope").text());
  row.set("Size", usage.is_null() ? "N/A" : human_size(usage.at("Size").as_double()));
  row.set("Status", "N/A");
  row.sort_members();
  return row;
}

JsonValue cache_row(const JsonValue& record) {
  JsonValue row = JsonValue::object();
  row.set("CacheType", record.at("Type").text());
  row.set("Created", age_text(unix_seconds(record.at("CreatedAt").text())));
  row.set("ID", short_id(record.at("ID").text()) + (record.at("InUse").as_bool() ? "*" : ""));
  row.set("InUse", record.at("InUse").as_bool() ? "true" : "false");
  row.set("LastUsed",
          record.at("LastUsedAt").is_string() ? age_text(unix_seconds(record.at("LastUsedAt").text())) : "");
  row.set("Shared", record.at("Shared").as_bool() ? "true" : "false");
  row.set("Size", human_size(record.at("Size").as_double(), 3));
  row.set("UsageCount", record.at("UsageCount").text());
  return row;
}

Detail detail_of(const JsonValue& df, bool truncate) {
  Detail out;
  for (const JsonValue& image : df.at("Images").items()) {
    // One line per image here, whatever the number of its tags.
    JsonValue row = image_rows(image, {.truncate = truncate, .digests = false}).front();
    row.set("Digest", "");
    out.images.push(row);
  }
  for (const JsonValue& container : df.at("Containers").items()) {
    JsonValue sized = container;
    sized.set("SizeRootFs", 0);
    out.containers.push(container_row(sized, truncate));
  }
  for (const JsonValue& volume : df.at("Volumes").items()) out.volumes.push(volume_row(volume));
  for (const JsonValue& record : df.at("BuildCache").items()) out.cache.push(cache_row(record));
  return out;
}

std::string table_of(const JsonValue& rows, std::initializer_list<Column> columns) {
  std::string text;
  for (const Column& column : columns) text += (text.empty() ? "" : "\t") + std::string(column.header);
  text += "\n";
  for (const JsonValue& row : rows.items()) {
    bool first = true;
    for (const Column& column : columns)
      text += (std::exchange(first, false) ? "" : "\t") + row.at(column.field).text();
    text += "\n";
  }
  return align_table(text);
}

void print_detail(Output& out, const JsonValue& df) {
  Detail detail = detail_of(df, true);
  out.print("Images space usage:\n\n");
  out.print(table_of(detail.images, {{"Repository", "REPOSITORY"},
                                     {"Tag", "TAG"},
                                     {"ID", "IMAGE ID"},
                                     {"CreatedSince", "CREATED"},
                                     {"Size", "SIZE"},
                                     {"SharedSize", "SHARED SIZE"},
                                     {"UniqueSize", "UNIQUE SIZE"},
                                     {"Containers", "CONTAINERS"}}));
  out.print("\nContainers space usage:\n\n");
  out.print(table_of(detail.containers, {{"ID", "CONTAINER ID"},
                                         {"Image", "IMAGE"},
                                         {"Command", "COMMAND"},
                                         {"LocalVolumes", "LOCAL VOLUMES"},
                                         {"Size", "SIZE"},
                                         {"RunningFor", "CREATED"},
                                         {"Status", "STATUS"},
                                         {"Names", "NAMES"}}));
  out.print("\nLocal Volumes space usage:\n\n");
  out.print(table_of(detail.volumes, {{"Name", "VOLUME NAME"}, {"Links", "LINKS"}, {"Size", "SIZE"}}));
  out.print("\nBuild cache usage: " + human_size(static_cast<double>(cache_usage(df).size)) + "\n\n");
  out.print(table_of(detail.cache, {{"ID", "CACHE ID"},
                                    {"CacheType", "CACHE TYPE"},
                                    {"Size", "SIZE"},
                                    {"Created", "CREATED"},
                                    {"LastUsed", "LAST USED"},
                                    {"UsageCount", "USAGE"},
                                    {"Shared", "SHARED"}}));
}

Result<int> disk_usage(App& app, const Invocation& call) {
  std::string format(call.flags.text("format"));
  bool verbose = call.flags.on("verbose");
  Listing listing =
      TRY(Listing::make(verbose ? "" : format, "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
                        kColumns, "*formatter.diskUsageImagesContext"));
  auto response = TRY(app.engine().get("/system/df"));
  JsonValue df = TRY(JsonValue::parse(response.body));
  if (verbose && format.empty()) {
    print_detail(app.out, df);
    return 0;
  }
  if (verbose) {
    Detail detail = detail_of(df, false);
    JsonValue all = JsonValue::object();
    all.set("Images", detail.images);
    all.set("Containers", detail.containers);
    all.set("Volumes", detail.volumes);
    all.set("BuildCache", detail.cache);
    app.out.print(TRY(format_one(format, all, "formatter.DiskUsageContext")));
    return 0;
  }
  for (const Usage& usage :
       {image_usage(df), container_usage(df), volume_usage(df), cache_usage(df), log_usage(df), rest_usage(df)}) {
    JsonValue row = JsonValue::object();
    row.set("Active", std::to_string(usage.active));
    row.set("Reclaimable", reclaimable_text(usage));
    row.set("Size", human_size(static_cast<double>(usage.size)));
    row.set("TotalCount", std::to_string(usage.total));
    row.set("Type", usage.type);
    TRY(listing.add(row));
  }
  listing.print(app.out);
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "verbose", .shorthand = 'v', .usage = "Show detailed information on space usage"},
};

}  // namespace

std::span<const Command> disk_usage_commands() {
  static constexpr Command kCommands[] = {
      {.names = "system df",
       .usage = "[OPTIONS]",
       .summary = "Show disk usage",
       .flags = kFlags,
       .function = disk_usage},
  };
  return kCommands;
}

}  // namespace caisson::cli
