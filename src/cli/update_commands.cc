// SPDX-License-Identifier: Apache-2.0
// update.
#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/host_config.h"
#include "cli/json_value.h"
#include "cli/network_spec.h"

namespace caisson::cli {

namespace {

Result<> set_policy(JsonValue& body, std::string_view text) {
  if (text.empty()) return {};
  auto pair = split_once(text, ':');
  auto invalid = [](const char* why) { return fail(ErrorKind::kInvalid, "invalid restart policy format: %s", why); };
  if (pair && pair->first.empty()) return invalid("no policy provided before colon");
  auto count = pair ? parse_int(pair->second) : std::optional<int64_t>(0);
  if (!count) return invalid("maximum retry count must be an integer");
  JsonValue policy = JsonValue::object();
  policy.set("Name", pair ? pair->first : std::string(text));
  policy.set("MaximumRetryCount", *count);
  body.set("RestartPolicy", policy);
  return {};
}

constexpr FlagSpec kUpdateFlags[] = {
    {.name = "blkio-weight",
     .kind = FlagKind::kUint,
     .type_name = "uint16",
     .usage = "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"},
    {.name = "cpu-period",
     .kind = FlagKind::kInt,
     .type_name = "int",
     .usage = "Limit CPU CFS (Completely Fair Scheduler) period"},
    {.name = "cpu-quota",
     .kind = FlagKind::kInt,
     .type_name = "int",
     .usage = "Limit CPU CFS (Completely Fair Scheduler) quota"},
    {.name = "cpu-rt-period",
     .kind = FlagKind::kInt,
     .type_name = "int",
     .usage = "Limit the CPU real-time period in microseconds"},
    {.name = "cpu-rt-runtime",
     .kind = FlagKind::kInt,
     .type_name = "int",
     .usage = "Limit the CPU real-time runtime in microseconds"},
    {.name = "cpu-shares",
     .shorthand = 'c',
     .kind = FlagKind::kInt,
     .type_name = "int",
     .usage = "CPU shares (relative weight)"},
    {.name = "cpus", .kind = FlagKind::kDecimal, .type_name = "decimal", .usage = "Number of CPUs"},
    {.name = "cpuset-cpus",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "CPUs in which to allow execution (0-3, 0,1)"},
    {.name = "cpuset-mems",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "MEMs in which to allow execution (0-3, 0,1)"},
    {.name = "kernel-memory",
     .kind = FlagKind::kBytes,
     .type_name = "bytes",
     .usage = "Kernel memory limit (deprecated)",
     .hidden = true},
    {.name = "memory", .shorthand = 'm', .kind = FlagKind::kBytes, .type_name = "bytes", .usage = "Memory limit"},
    {.name = "memory-reservation", .kind = FlagKind::kBytes, .type_name = "bytes", .usage = "Memory soft limit"},
    {.name = "memory-swap",
     .kind = FlagKind::kBytes,
     .type_name = "bytes",
     .usage = "Swap limit equal to memory plus swap: -1 to enable unlimited swap"},
    {.name = "pids-limit",
     .kind = FlagKind::kInt,
     .type_name = "int",
     .usage = "Tune container pids limit (set -1 for unlimited)"},
    {.name = "publish",
     .shorthand = 'p',
     .kind = FlagKind::kList,
     .type_name = "list",
     .usage = "Publish more of the container's ports"},
    {.name = "restart",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Restart policy to apply when a container exits"},
    {.name = "unpublish",
     .kind = FlagKind::kList,
     .type_name = "list",
     .usage = "Take ports back: a container port, or as they were published"},
};

Result<int> update(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  bool is_any = false;
  for (const FlagSpec& spec : kUpdateFlags) is_any |= flags.changed(spec.name);
  if (!is_any) return fail(ErrorKind::kInvalid, "you must provide one or more flags when using this command");
  JsonValue body = JsonValue::object();
  TRY(set_resource_limits(body, flags));
  for (const auto& [flag, member] : {std::pair{"cpuset-cpus", "CpusetCpus"}, std::pair{"cpuset-mems", "CpusetMems"}})
    if (!flags.text(flag).empty()) body.set(member, std::string(flags.text(flag)));
  TRY(set_policy(body, flags.text("restart")));
  if (auto ports = flags.list("publish"); !ports.empty()) body.set("PublishPorts", TRY(port_map(ports, false)));
  if (auto ports = flags.list("unpublish"); !ports.empty()) body.set("UnpublishPorts", TRY(port_map(ports, true)));
  std::string text = body.dump(), warnings;
  int failed = 0;
  std::string errors;
  for (const std::string& name : call.args) {
    auto response = app.engine().post("/containers/" + segment(name) + "/update", {}, text);
    auto answer = response ? JsonValue::parse(response->body) : Result<JsonValue>(std::unexpected(response.error()));
    if (!answer) {
      errors += (errors.empty() ? "" : "\n") + answer.error().message;
      failed = 1;
      continue;
    }
    app.out.line(name);
    for (const JsonValue& warning : answer->at("Warnings").items()) warnings += warning.text() + "\n";
  }
  app.out.print(warnings);
  if (failed) app.complain(errors);
  return failed;
}

}  // namespace

std::span<const Command> update_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container update;update",
       .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
       .summary = "Update configuration of one or more containers",
       .flags = kUpdateFlags,
       .min_args = 1,
       .max_args = -1,
       .function = update},
  };
  return kCommands;
}

}  // namespace caisson::cli
