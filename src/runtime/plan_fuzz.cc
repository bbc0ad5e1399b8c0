// SPDX-License-Identifier: Apache-2.0
// Two ways to a plan. Text that begins like JSON is a config.json: what parses is compiled and built, and what is
// built survives the codec. Anything else goes to the decoders; what decodes must encode to the same bytes.
#include <cstdlib>

#include "base/log.h"
#include "runtime/plan.h"
#include "runtime/plan_builder.h"
#include "runtime/seccomp_profile.h"
#include "spec/oci_runtime.h"

namespace caisson::runtime {

static void check_codec(const Plan& plan) {
  auto bytes = encode(plan);
  if (bytes.size() > kMaxPlanBytes) return;
  auto again = decode_plan(bytes);
  if (!again || encode(*again) != bytes) abort();
}

static void through_config(std::string_view text) {
  if (auto process = spec::parse_oci_process(text))
    if (auto plan = build_process(*process))
      if (auto again = decode_process_plan(encode(*plan)); again && *again != *plan) abort();
  auto spec = spec::parse_runtime_spec(text);
  if (!spec) return;
  // What we write is what we read.
  auto written = spec::to_json(*spec);
  if (auto again = spec::parse_runtime_spec(written); !again || spec::to_json(*again) != written) abort();
  BuildOptions options;
  options.id = "x";
  options.bundle = "/b";
  if (spec->linux_part && spec->linux_part->seccomp) {
    auto filter = compile_seccomp(*spec->linux_part->seccomp);
    auto flags = seccomp_flags(*spec->linux_part->seccomp);
    if (!filter || !flags) return;
    options.seccomp_bpf = std::move(*filter);
    options.seccomp_flags = *flags;
  }
  for (bool rootless : {false, true}) {
    options.rootless = rootless;
    if (auto plan = build_plan(*spec, options)) check_codec(*plan);
  }
}

}  // namespace caisson::runtime

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace caisson;
  set_log_level(LogLevel::kError);
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.starts_with("{")) {
    runtime::through_config(bytes);
    return 0;
  }
  if (auto plan = runtime::decode_plan(bytes); plan && runtime::encode(*plan) != bytes) abort();
  if (auto process = runtime::decode_process_plan(bytes); process && runtime::encode(*process) != bytes) abort();
  return 0;
}
