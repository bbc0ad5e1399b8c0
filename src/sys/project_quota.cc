// SPDX-License-Identifier: Apache-2.0
#include "sys/project_quota.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/text.h"
#include "sys/files.h"

namespace caisson::sys {

namespace {

constexpr int kAttempts = 64;
// Far from the small numbers that people give out in /etc/projid.
constexpr uint32_t kFirstProject = 0x40000000, kProjects = 0x20000000;

int quota(int fd, int command, uint32_t project, if_dqblk* block) {
#ifdef SYS_quotactl_fd
  return static_cast<int>(syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), project, block));
#else
  errno = ENOSYS;
  return -1;
#endif
}

// One without limits and files.
Result<uint32_t> free_project(int fd) {
  for (int i = 0; i < kAttempts; ++i) {
    uint32_t number = static_cast<uint32_t>(strtoul(random_hex(8).c_str(), nullptr, 16));
    uint32_t project = kFirstProject + number % kProjects;
    if_dqblk block{};
    if (quota(fd, Q_GETQUOTA, project, &block) < 0) {
      if (errno == ENOENT || errno == ESRCH) return project;  // nobody has ever used it
      return fail_errno("read a project quota");
    }
    if (block.dqb_curinodes == 0 && block.dqb_bhardlimit == 0) return project;
  }
  return fail(ErrorKind::kExhausted, "no free project number was found");
}

}  // namespace

Result<> check_project_quota(const std::string& directory) {
  auto fd = TRY(open_file(directory, O_RDONLY | O_DIRECTORY));
  if_dqblk block{};
  // The limits of project 0 can be read wherever project quotas are on.
  if (quota(fd.get(), Q_GETQUOTA, 0, &block) == 0 || errno == ENOENT) return {};
  return fail(ErrorKind::kUnsupported, "the file system of '%s' has no project quotas (mount it with prjquota): %s",
              directory.c_str(), errno_text(errno).c_str());
}

Result<> limit_project(const std::vector<std::string>& directories, int64_t bytes) {
  auto first = TRY(open_file(directories.at(0), O_RDONLY | O_DIRECTORY));
  uint32_t project = TRY(free_project(first.get()));
  if_dqblk block{};
  block.dqb_valid = QIF_BLIMITS;
  block.dqb_bhardlimit = static_cast<uint64_t>((bytes + QIF_DQBLKSIZE - 1) / QIF_DQBLKSIZE);
  block.dqb_bsoftlimit = block.dqb_bhardlimit;
  if (quota(first.get(), Q_SETQUOTA, project, &block) < 0) return fail_errno("set a project quota");
  for (const auto& directory : directories) {
    auto fd = TRY(open_file(directory, O_RDONLY | O_DIRECTORY));
    fsxattr attributes{};
    if (ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes) < 0)
      return fail_errno("read the project of '%s'", directory.c_str());
    attributes.fsx_projid = project;
    attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    if (ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes) < 0)
      return fail_errno("set the project of '%s'", directory.c_str());
  }
  return {};
}

}  // namespace caisson::sys
