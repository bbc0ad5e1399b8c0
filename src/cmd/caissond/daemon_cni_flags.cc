// SPDX-License-Identifier: Apache-2.0
// The flags for networks that CNI plugins make.
#include "base/text.h"
#include "cmd/caissond/daemon_flags.h"

namespace caisson {

namespace {

Result<> program_directories(DaemonOptions& options, const std::string& value) {
  options.engine.cni_bin_dirs.clear();
  for (const auto& directory : split(value, ':'))
    TRY(absolute_path(directory, options.engine.cni_bin_dirs.emplace_back()));
  return {};
}

const Flag kFlags[] = {
    {.name = "cni",
     .key = "cni",
     .argument = nullptr,
     .help = "Every network configuration of CNI is a network of driver \"cni\"",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.cni = TRY(parse_bool(v));
       return {};
     }},
    {.name = "cni-bin-dir",
     .key = "cni-bin-dir",
     .argument = "DIR[:DIR]",
     .help = "Where CNI plugins lie (default \"/opt/cni/bin:/usr/lib/cni\")",
     .apply = program_directories},
    {.name = "cni-conf-dir",
     .key = "cni-conf-dir",
     .argument = "DIR",
     .help = "Directory with network configurations of CNI (default \"/etc/cni/net.d\"); implies --cni",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.cni = true;
       return absolute_path(v, o.engine.cni_conf_dir);
     }},
};

}  // namespace

std::span<const Flag> cni_flags() { return kFlags; }

}  // namespace caisson
