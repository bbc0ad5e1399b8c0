// SPDX-License-Identifier: Apache-2.0
// What run and create have in common: from the bundle to a plan and a record, and the way a terminal and
// inherited descriptors are handed over.
#pragma once

#include "commands.h"
#include "record.h"
#include "runtime/plan_builder.h"

namespace caisson::oci {

std::string default_root();
Result<std::string> absolute_path(const std::string& path);
// Inside a user namespace that has not got every id.
bool in_small_user_namespace();

struct Setup {
  runtime::Plan plan;
  Record record;
};
// Reads BUNDLE/config.json. `flags` are those of run and create.
Result<Setup> read_bundle(const Options& options, const Parsed& flags, const std::string& id);

// The flags about terminals make sense together. `detached`: nobody stays to copy.
Result<> check_terminal(bool terminal, bool detached, const std::string& console_socket);
Result<UniqueFd> connect_console(const std::string& console_socket);  // empty path: nothing
Result<> send_console(int socket, const UniqueFd& master);

// How many descriptors from 3 on the program gets: those of --preserve-fds, and with `activation` those of
// LISTEN_FDS before them. All must be open, so this comes before anything else is opened.
struct InheritedFds {
  uint32_t activated = 0, preserved = 0;
};
Result<InheritedFds> inherited_fds(const Parsed& flags, bool activation);
void pass_fds(const InheritedFds& fds, runtime::ProcessPlan& process);

Result<> write_pid_file(const Parsed& flags, pid_t pid);

std::string systemd_program();  // path of caisson-systemd, beside this program

// Kills what is in the container's cgroup and removes it, systemd's unit included.
Result<> remove_cgroups(const Record& record);
// Processes, cgroup, directory; poststop hooks are run if a process had been made, and their failures are
// warnings. When the cgroup cannot be removed the record stays, for another try.
Result<> take_down(const Options& options, const Record& record, Directory& directory);
// The same on the way out of an error: failures are warnings.
void destroy(const Options& options, const Record& record, Directory& directory);

}  // namespace caisson::oci
