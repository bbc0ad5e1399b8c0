// SPDX-License-Identifier: Apache-2.0
// What a container gets when nobody says otherwise, as Docker 28 has it: mounts, masks, capabilities,
// device rules; and the privileged variant. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "spec/oci_runtime.h"

namespace caisson::runtime {

struct DefaultMountOptions {
  int64_t shm_size = 64 << 20;  // bytes; 0: no /dev/shm (the caller shares or binds one)
  bool mqueue = true;           // off when the ipc namespace is shared
  bool privileged = false;      // sysfs and cgroup writable
  bool sysfs_bind = false;      // host network with a user namespace: /sys is a bind of the host's
};
// proc, /dev, devpts, sysfs, cgroup, mqueue, shm; in the order they are mounted.
std::vector<spec::OciMount> default_mounts(const DefaultMountOptions& options);

std::vector<std::string> default_masked_paths();
std::vector<std::string> default_readonly_paths();
// Namespaces a container creates: mount, pid, ipc, uts, network, cgroup. Drop entries for "host" modes.
std::vector<spec::OciNamespace> default_namespaces();
// Deny all, then null zero full random urandom tty console ptmx pts and mknod of anything.
std::vector<spec::OciDeviceRule> default_device_rules();
std::vector<spec::OciDeviceRule> privileged_device_rules();  // allow all

// Every capability this build knows, "CAP_" prefixed, by number.
const std::vector<std::string>& all_capability_names();
std::vector<std::string> default_capabilities();  // Docker's 14
// "NET_ADMIN", "cap_net_admin" -> bit number; kInvalid with Docker's text `invalid capability: "X"` style.
Result<int> capability_number(std::string_view name);

// --cap-add / --cap-drop with ALL, any case, prefix optional; result sorted by number, prefixed. Names
// the kernel does not have (above `last_cap`) are left out of ALL. Errors: kInvalid, Docker's text
// `invalid CapAdd: unknown capability: "CAP_NOPE"`.
Result<std::vector<std::string>> resolve_capabilities(const std::vector<std::string>& add,
                                                      const std::vector<std::string>& drop, bool privileged,
                                                      int last_cap = 40);
// The five sets as Docker fills them: bounding, effective, permitted for root; only bounding for another
// user; never inheritable or ambient.
spec::OciCapabilities capability_sets(const std::vector<std::string>& names, bool root_user);

// A complete spec with all of the above, process "/" as root; args, root and ids are the caller's.
spec::RuntimeSpec default_runtime_spec();

}  // namespace caisson::runtime
