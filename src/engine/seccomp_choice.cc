// SPDX-License-Identifier: Apache-2.0
#include "engine/seccomp_choice.h"

#include "engine/spec_builder.h"

namespace caisson::engine {

Result<> add_seccomp_filter(const ContainerRecord& record, const EngineOptions& options, runtime::SeccompCache& cache,
                            runtime::ProcessPlan& process, bool privileged_exec) {
  auto security = TRY(parse_security_options(record.host_config.security_opt));
  if (record.host_config.privileged || privileged_exec || security.seccomp_unconfined) return {};
  const std::string& text = security.seccomp_profile.empty() ? options.seccomp_profile : security.seccomp_profile;
  if (text.empty() && options.seccomp_unconfined) return {};
  auto context = TRY(runtime::host_seccomp_context(process.cap_bounding));
  if (text.empty()) {
    process.seccomp_bpf = TRY(cache.default_bpf(context));
    return {};
  }
  auto profile = TRY(runtime::parse_seccomp_profile(text, context));
  process.seccomp_bpf = TRY(cache.bpf_for(profile));
  process.seccomp_flags = TRY(runtime::seccomp_flags(profile));
  return {};
}

}  // namespace caisson::engine
