// SPDX-License-Identifier: Apache-2.0
// What of a spec says how the container's root looks, into a Plan: mounts, devices, masks, propagation. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/plan_builder.h"

namespace caisson::runtime {

// Absolute, without ".", ".." and empty parts; nullopt when it is not absolute.
std::optional<std::string> clean_path(std::string_view path);
Result<> add_mounts(const spec::RuntimeSpec& spec, const BuildOptions& options, Plan& plan);
// Devices, masked and read-only paths, root propagation.
Result<> add_linux_root(const spec::OciLinux& in, Plan& plan);
// The devices every container has, unless the spec lists them itself.
void add_default_devices(Plan& plan);

}  // namespace caisson::runtime
