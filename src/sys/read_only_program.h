// SPDX-License-Identifier: Apache-2.0
// Programs that run next to containers are executed from a read-only mount of their own: whoever gets
// hold of /proc/PID/exe from inside a container cannot write through it (the hole of CVE-2019-5736).
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

// `path` through a detached read-only mount. Executing "/proc/self/fd/N" of it makes that mount the one
// behind /proc/self/exe; the descriptor need not stay open. Needs CAP_SYS_ADMIN.
Result<UniqueFd> open_read_only_program(const std::string& path);

// A sealed copy in memory, for callers without that right.
Result<UniqueFd> copy_program_sealed(const std::string& path);

// Executes the running program again from one of these, unless it is so already. Returns when nothing is to
// be done: also when the file is not the caller's to write, whatever name it is reached by. For the start of
// main, before anything else is open. The directory of the program's own file is told by program_directory().
void reexec_from_read_only_file(char* const* argv, const char* name);

// Where the program lies, although it may run from elsewhere; "" when that is not known.
std::string program_directory();

}  // namespace caisson::sys
