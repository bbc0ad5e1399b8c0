// SPDX-License-Identifier: Apache-2.0
#include "spec/oci_runtime.h"

namespace caisson::spec {

static constexpr size_t kMaxConfigBytes = 16 << 20;

template <class T>
static Result<T> parse(std::string_view text, const char* what) {
  if (text.size() > kMaxConfigBytes) return fail(ErrorKind::kInvalid, "%s: longer than 16 MiB", what);
  auto value = json::decode<T>(text);
  if (!value) {
    Error error = std::move(value).error();
    error.kind = ErrorKind::kInvalid;
    return with_context(std::move(error), what);
  }
  return value;
}

Result<RuntimeSpec> parse_runtime_spec(std::string_view text) { return parse<RuntimeSpec>(text, "parse config.json"); }
Result<OciProcess> parse_oci_process(std::string_view text) { return parse<OciProcess>(text, "parse process.json"); }
std::string to_json(const RuntimeSpec& spec) { return json::encode(spec); }
std::string to_json(const OciState& state) { return json::encode(state); }
std::string to_json(const OciContainerProcessState& state) { return json::encode(state); }

}  // namespace caisson::spec
