// SPDX-License-Identifier: Apache-2.0
// Hooks that the host's administrator has for containers: JSON files in directories, as podman and CRI-O read them
// (oci-hooks(5), version 1.0.0). A file says which containers it is for, and at which stages its program runs.
#pragma once

#include <string>
#include <vector>

#include "engine/record.h"
#include "spec/oci_runtime.h"

namespace caisson::engine {

// Those of `directories` that are meant for the container, in the order of the files' names; a file of a later
// directory replaces one of the same name. A directory that is not there has none. Read at every start, so that a
// change needs no restart of the engine. kInvalid names the file that cannot be read as hooks. Blocking (disk).
Result<spec::OciHooks> find_hooks(const std::vector<std::string>& directories, const ContainerRecord& record);

// One file's text. Pure.
Result<> add_hook(const std::string& json, const ContainerRecord& record, spec::OciHooks& hooks);

}  // namespace caisson::engine
