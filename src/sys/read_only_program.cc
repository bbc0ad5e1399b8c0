// SPDX-License-Identifier: Apache-2.0
#include "sys/read_only_program.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/mount.h"

namespace caisson::sys {

Result<UniqueFd> open_read_only_program(const std::string& path) {
  auto mount = TRY(clone_mount(AT_FDCWD, path, false));
  TRY(set_mount_attributes(mount.get(), MOUNT_ATTR_RDONLY, 0, 0, false));
  return mount;
}

void reexec_from_read_only_mount(char* const* argv, const char* name) {
  struct statvfs info {};
  if (statvfs("/proc/self/exe", &info) == 0 && (info.f_flag & ST_RDONLY)) {
    prctl(PR_SET_NAME, name);  // the kernel took the descriptor's number for it
    return;
  }
  auto program = open_read_only_program("/proc/self/exe");
  if (!program) return;
  execv(format("/proc/self/fd/%d", program->get()).c_str(), argv);
}

}  // namespace caisson::sys
