// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

namespace caisson::oci {

namespace {

constexpr Usage kUsage{"events", "<container-id>", "not there yet", "", {}, 0, SIZE_MAX};

Result<int> run(const Options&, const Parsed&) { return fail(ErrorKind::kUnsupported, "events is not supported yet"); }

}  // namespace

constinit const Command kEventsCommand{&kUsage, run};

}  // namespace caisson::oci
