// SPDX-License-Identifier: Apache-2.0
// Where errors go: one line on stderr, and the log file that callers read the reason from.
#include <cstdio>
#include <cstring>

#include "base/clock.h"
#include "base/text.h"
#include "sys/files.h"
#include "wire/json.h"

#include "commands.h"

namespace caisson::oci {

void report(const Options& options, const char* level, const std::string& message) {
  fprintf(stderr, "caisson-oci: %s%s\n", strcmp(level, "error") == 0 ? "" : "warning: ", message.c_str());
  if (!options.log) return;
  std::string time = format_rfc3339(now_ns()), text = json::quote(message);
  std::string line = options.log_json
                         ? format("{\"level\":\"%s\",\"msg\":%s,\"time\":\"%s\"}\n", level, text.c_str(), time.c_str())
                         : format("time=\"%s\" level=%s msg=%s\n", time.c_str(), level, text.c_str());
  if (auto written = sys::write_all(options.log.get(), line); !written)
    fprintf(stderr, "caisson-oci: %s\n", written.error().message.c_str());
}

}  // namespace caisson::oci
