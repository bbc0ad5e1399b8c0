// SPDX-License-Identifier: Apache-2.0
// Flags about how much is fetched and sent at once, what Docker calls features, and figures for a monitoring system.
#include "base/text.h"
#include "cmd/caissond/daemon_flags.h"

namespace caisson {

namespace {

Result<> count(const std::string& value, int most, int& target) {
  auto number = parse_uint(value);
  if (!number || *number < 1 || *number > static_cast<uint64_t>(most))
    return fail(ErrorKind::kInvalid, "expected a number from 1 to %d, got %s", most, quoted(value).c_str());
  target = static_cast<int>(*number);
  return {};
}

// "name" or "name=false".
Result<> feature(DaemonOptions& options, const std::string& text) {
  auto pair = split_once(text, '=');
  std::string name = pair ? pair->first : text;
  bool on = !pair || TRY(parse_bool(pair->second));
  // Content is addressed by digests here, whatever a client calls that.
  if (name == "containerd-snapshotter" || name == "time-namespaces") {
    options.notices.push_back("--feature " + name + " is accepted and does nothing");
    return {};
  }
  if (!on) return {};
  for (const char* missing : {"cdi", "buildkit", "containerd-migration"})
    if (name == missing) return fail(ErrorKind::kUnsupported, "this release does not have the feature '%s'", missing);
  return fail(ErrorKind::kInvalid, "unknown feature %s", quoted(name).c_str());
}

constexpr Flag kFlags[] = {
    {.name = "feature",
     .key = "features",
     .argument = "NAME[=BOOL]",
     .help = "Features that Docker has names for; may be repeated",
     .apply = feature,
     .form = FlagForm::kMap},
    {.name = "max-concurrent-downloads",
     .key = "max-concurrent-downloads",
     .argument = "N",
     .help = "Layers that a pull fetches at once (default 3)",
     .apply = [](DaemonOptions& o, const std::string& v) { return count(v, 64, o.engine.transfers.downloads); },
     .reloadable = true},
    {.name = "max-concurrent-uploads",
     .key = "max-concurrent-uploads",
     .argument = "N",
     .help = "Layers that a push sends at once (default 5)",
     .apply = [](DaemonOptions& o, const std::string& v) { return count(v, 64, o.engine.transfers.uploads); },
     .reloadable = true},
    {.name = "max-download-attempts",
     .key = "max-download-attempts",
     .argument = "N",
     .help = "How often a transfer that brings nothing new is tried (default 4)",
     .apply = [](DaemonOptions& o, const std::string& v) { return count(v, 100, o.engine.transfers.attempts); },
     .reloadable = true},
    {.name = "metrics-addr",
     .key = "metrics-addr",
     .argument = "ADDRESS",
     .help = "Serve figures for Prometheus there, under /metrics (\"127.0.0.1:9323\"); off by default",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.metrics_address = v;
       return {};
     }},
};

}  // namespace

std::span<const Flag> transfer_flags() { return kFlags; }

}  // namespace caisson
