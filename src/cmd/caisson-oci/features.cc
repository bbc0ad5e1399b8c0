// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

namespace caisson::oci {

namespace {

constexpr Usage kUsage{"features", "<container-id>", "not there yet", "", {}, 0, SIZE_MAX};

Result<int> run(const Options&, const Parsed&) {
  return fail(ErrorKind::kUnsupported, "features is not supported yet");
}

}  // namespace

constinit const Command kFeaturesCommand{&kUsage, run};

}  // namespace caisson::oci
