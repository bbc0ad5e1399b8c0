// SPDX-License-Identifier: Apache-2.0
#include "sys/read_only_program.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>

#include "base/text.h"
#include "sys/files.h"
#include "sys/mount.h"

namespace caisson::sys {

namespace {

constexpr const char* kSelf = "/proc/self/exe";
constexpr const char* kDirectoryVariable = "_CAISSON_PROGRAM_DIRECTORY";
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

bool is_sealed_copy() {
  UniqueFd self(open(kSelf, O_RDONLY | O_CLOEXEC));
  return self && fcntl(self.get(), F_GET_SEALS) == kSeals;
}

// The owner may make it writable.
bool may_be_written() {
  struct stat info {};
  return geteuid() == 0 || stat(kSelf, &info) < 0 || info.st_uid == geteuid() || access(kSelf, W_OK) == 0;
}

}  // namespace

Result<UniqueFd> open_read_only_program(const std::string& path) {
  auto mount = TRY(clone_mount(AT_FDCWD, path, false));
  TRY(set_mount_attributes(mount.get(), MOUNT_ATTR_RDONLY, 0, 0, false));
  return mount;
}

Result<UniqueFd> copy_program_sealed(const std::string& path) {
  auto from = TRY(open_file(path, O_RDONLY));
  struct stat info {};
  if (fstat(from.get(), &info) < 0) return fail_errno("stat '%s'", path.c_str());
  UniqueFd copy(memfd_create("program", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy) return fail_errno("memfd_create");
  for (off_t left = info.st_size; left > 0;) {
    ssize_t sent = sendfile(copy.get(), from.get(), nullptr, static_cast<size_t>(left));
    if (sent <= 0) return fail_errno("copy '%s'", path.c_str());
    left -= sent;
  }
  if (fchmod(copy.get(), 0555) < 0 || fcntl(copy.get(), F_ADD_SEALS, kSeals) < 0)
    return fail_errno("seal the copy of '%s'", path.c_str());
  return copy;
}

void reexec_from_read_only_file(char* const* argv, const char* name) {
  struct statvfs info {};
  bool read_only = statvfs(kSelf, &info) == 0 && (info.f_flag & ST_RDONLY);
  if (read_only || is_sealed_copy() || !may_be_written()) {
    prctl(PR_SET_NAME, name);  // the kernel took the descriptor's number for it
    return;
  }
  char path[4096];
  ssize_t size = readlink(kSelf, path, sizeof path - 1);
  if (size > 0) {
    std::string directory(path, static_cast<size_t>(size));
    setenv(kDirectoryVariable, directory.substr(0, directory.rfind('/')).c_str(), 1);
  }
  auto program = open_read_only_program(kSelf);
  if (!program) program = copy_program_sealed(kSelf);
  if (program) execv(format("/proc/self/fd/%d", program->get()).c_str(), argv);
}

std::string program_directory() {
  // Ours to say only when we were started that way; the environment of anybody else says nothing.
  char path[4096];
  ssize_t size = readlink(kSelf, path, sizeof path - 1);
  std::string own(path, size > 0 ? static_cast<size_t>(size) : 0);
  size_t slash = own.rfind('/');
  bool moved = is_sealed_copy() || slash == 0 || slash == std::string::npos;
  const char* told = getenv(kDirectoryVariable);
  if (moved && told) return told;
  return slash == std::string::npos ? "" : own.substr(0, slash);
}

}  // namespace caisson::sys
