// SPDX-License-Identifier: Apache-2.0
// `state` and `list`: what is known of containers. Neither waits for anything.
#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "base/text.h"
#include "sys/files.h"

#include "commands.h"
#include "record.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kListFlags[] = {{"format", 'f', kValue, "'table' (default) or 'json'"},
                               {"quiet", 'q', kSwitch, "display only container IDs"}};
constexpr Usage kStateUsage{"state", "<container-id>", "output the state of a container", "", {}, 1, 1};
constexpr Usage kListUsage{"list", "", "list the containers below the root directory", "", kListFlags, 0, 0};

struct StateOutput {
  std::string oci_version, id;
  int64_t pid = 0;
  std::string status, bundle, rootfs, created;
  std::map<std::string, std::string> annotations;
  std::string owner;
};
CAISSON_JSON(StateOutput, CAISSON_FIELD("ociVersion", oci_version), CAISSON_FIELD("id", id), CAISSON_FIELD("pid", pid),
             CAISSON_FIELD("status", status), CAISSON_FIELD("bundle", bundle), CAISSON_FIELD("rootfs", rootfs),
             CAISSON_FIELD("created", created), CAISSON_FIELD_OMIT("annotations", annotations),
             CAISSON_FIELD("owner", owner))

Result<StateOutput> describe(const std::string& root, Record record) {
  Status status = TRY(status_of(root + "/" + record.id, record));
  StateOutput out;
  out.oci_version = record.oci_version;
  out.id = record.id;
  out.pid = status == Status::kStopped ? 0 : record.pid;
  out.status = status_name(status);
  out.bundle = std::move(record.bundle);
  out.rootfs = std::move(record.rootfs);
  out.created = format_rfc3339(record.created_ns);
  out.annotations = std::move(record.annotations);
  return out;
}

Result<int> state(const Options& options, const Parsed& flags) {
  auto output = TRY(describe(options.root, TRY(load_record(options.root, flags.arguments[0]))));
  puts(TRY(json::indent(json::encode(output), "  ")).c_str());
  return 0;
}

std::string user_name(uint32_t uid) {
  // By hand: the C library's lookup wants shared libraries, which a static program has not got.
  if (auto passwd = sys::read_file("/etc/passwd"))
    for (const auto& line : split(*passwd, '\n')) {
      auto fields = split(line, ':');
      if (fields.size() > 2 && parse_uint(fields[2]) == uid) return fields[0];
    }
  return format("#%u", uid);
}

// As Go's tabwriter with these settings: cells at least 12 wide, three blanks between them.
void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows)
    for (size_t i = 0; i + 1 < row.size(); ++i) widths[i] = std::max({widths[i], size_t{12}, row[i].size() + 3});
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size(), ' ');
    }
    puts(line.c_str());
  }
}

Result<std::vector<StateOutput>> all_states(const std::string& root) {
  std::vector<StateOutput> out;
  auto names = sys::list_dir(root);
  if (!names) {
    if (names.error().err == ENOENT) return out;
    return std::unexpected(std::move(names).error());
  }
  std::sort(names->begin(), names->end());
  for (const auto& name : *names) {
    if (name.starts_with(".")) continue;
    auto record = load_record(root, name);
    if (!record) continue;  // half-made, or deleted meanwhile
    std::string owner = user_name(record->owner);
    auto state = describe(root, std::move(*record));
    if (!state) continue;
    state->owner = std::move(owner);
    out.push_back(std::move(*state));
  }
  return out;
}

Result<int> list(const Options& options, const Parsed& flags) {
  std::string format = flags.value("format", "table");
  if (format != "table" && format != "json") return fail(ErrorKind::kInvalid, "invalid format option");
  auto states = TRY(all_states(options.root));
  if (flags.on("quiet")) {
    for (const auto& state : states) puts(state.id.c_str());
    return 0;
  }
  if (format == "json") {
    puts(states.empty() ? "null" : json::encode(states).c_str());
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"}};
  for (auto& state : states)
    rows.push_back({state.id, std::to_string(state.pid), state.status, state.bundle, state.created, state.owner});
  print_table(rows);
  return 0;
}

}  // namespace

constinit const Command kStateCommand{&kStateUsage, state};
constinit const Command kListCommand{&kListUsage, list};

}  // namespace caisson::oci
