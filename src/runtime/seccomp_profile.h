// SPDX-License-Identifier: Apache-2.0
// Seccomp profiles in Docker's JSON form and in the OCI spec's: resolving conditions, compiling to a
// kernel filter, keeping compiled filters by hash. Our default profile is a table (seccomp_default.cc).
#pragma once

#include <cstdint>
#include <memory>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "spec/oci_runtime.h"

namespace caisson::runtime {

struct KernelVersion {
  uint32_t major = 0, minor = 0;
  auto operator<=>(const KernelVersion&) const = default;
};
// "6.1.0-13-amd64" -> 6.1; nullopt on anything that does not begin like that.
std::optional<KernelVersion> parse_kernel_version(std::string_view release);

// What the conditions of a profile are checked against.
struct SeccompContext {
  uint64_t capabilities = 0;  // bounding set, bit n = capability n
  std::string arch;           // "amd64", "arm64": Go's names, as the profiles use
  KernelVersion kernel;
};
// Architecture of this build and the running kernel's version.
Result<SeccompContext> host_seccomp_context(uint64_t capabilities);

// The default profile for that context as an OCI section (for inspecting, config.json and compiling).
spec::OciSeccomp default_seccomp(const SeccompContext& context);
// A user's profile (--security-opt seccomp=FILE): Docker's form with includes/excludes/archMap, or the
// plain OCI form. Errors kInvalid, text starts with `decoding seccomp profile failed: `.
Result<spec::OciSeccomp> parse_seccomp_profile(std::string_view text, const SeccompContext& context);

// Array of struct sock_filter, about a millisecond. Names that no table knows are skipped, as runc
// does. System calls newer than everything in the profile get ENOSYS where the default action is an errno.
Result<std::string> compile_seccomp(const spec::OciSeccomp& profile);
// SECCOMP_FILTER_FLAG_* of the profile's "flags"; kUnsupported for unknown ones.
Result<uint32_t> seccomp_flags(const spec::OciSeccomp& profile);

// Compiled filters by hash of the profile, in memory and, with a directory, on disk across engine
// starts. Any thread.
class SeccompCache {
 public:
  explicit SeccompCache(std::string directory = "");  // existing directory, private to us
  ~SeccompCache();
  Result<std::string> bpf_for(const spec::OciSeccomp& profile);
  // The default profile without building its section first when that is cached.
  Result<std::string> default_bpf(const SeccompContext& context);

 private:
  struct State;  // keeps the mutex out of this header
  std::unique_ptr<State> state_;
};

}  // namespace caisson::runtime
