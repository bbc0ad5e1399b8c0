// SPDX-License-Identifier: Apache-2.0
#include "image/layer_compare.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "base/text.h"
#include "sys/files.h"
#include "sys/tree_walk.h"

namespace caisson::image {

namespace {

Result<bool> same_bytes(const sys::TreeWalk::Entry& a, const sys::TreeWalk::Entry& b) {
  auto left = TRY(sys::open_at(a.dir, a.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  auto right = TRY(sys::open_at(b.dir, b.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  std::vector<char> one(128 << 10), two(128 << 10);
  for (int64_t at = 0; at < a.st.st_size;) {
    ssize_t got = pread(left.get(), one.data(), one.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read %s", quoted(a.path).c_str());
    if (got == 0) return false;
    for (ssize_t done = 0; done < got;) {
      ssize_t more = pread(right.get(), two.data(), static_cast<size_t>(got - done), at + done);
      if (more < 0 && errno == EINTR) continue;
      if (more < 0) return fail_errno("read %s", quoted(b.path).c_str());
      if (more == 0 || memcmp(one.data() + done, two.data(), static_cast<size_t>(more)) != 0) return false;
      done += more;
    }
    at += got;
  }
  return true;
}

bool same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

Result<const char*> difference(const sys::TreeWalk::Entry& a, const sys::TreeWalk::Entry& b) {
  if ((a.st.st_mode & S_IFMT) != (b.st.st_mode & S_IFMT)) return "other type";
  if (a.st.st_mode != b.st.st_mode) return "other mode";
  if (a.st.st_uid != b.st.st_uid || a.st.st_gid != b.st.st_gid) return "other owner";
  if ((S_ISCHR(a.st.st_mode) || S_ISBLK(a.st.st_mode)) && a.st.st_rdev != b.st.st_rdev) return "other device";
  if (!S_ISDIR(a.st.st_mode) && a.st.st_nlink != b.st.st_nlink) return "other number of hard links";
  if (S_ISREG(a.st.st_mode) && a.st.st_size != b.st.st_size) return "other size";
  // A directory that the tar does not list has the time of its unpacking.
  if (!S_ISDIR(a.st.st_mode) && !same_time(a.st.st_mtim, b.st.st_mtim)) return "other time";
  if (TRY(sys::list_xattrs_at(a.dir, a.name)) != TRY(sys::list_xattrs_at(b.dir, b.name)))
    return "other extended attributes";
  if (S_ISLNK(a.st.st_mode) && TRY(sys::read_link_at(a.dir, a.name)) != TRY(sys::read_link_at(b.dir, b.name)))
    return "other target";
  if (S_ISREG(a.st.st_mode) && !TRY(same_bytes(a, b))) return "other content";
  return static_cast<const char*>(nullptr);
}

}  // namespace

Result<std::string> first_difference(int found, int wanted) {
  auto left = TRY(sys::TreeWalk::open(TRY(sys::open_at(found, ".", O_RDONLY | O_DIRECTORY)), {}));
  auto right = TRY(sys::TreeWalk::open(TRY(sys::open_at(wanted, ".", O_RDONLY | O_DIRECTORY)), {}));
  sys::TreeWalk::Entry a, b;
  while (true) {
    bool has_left = TRY(left.next(a)), has_right = TRY(right.next(b));
    if (!has_left && !has_right) return std::string();
    // Both go in the order of their names, so the first path that differs is missing on one side.
    if (!has_right) return quoted(a.path) + ": should not be there";
    if (!has_left) return quoted(b.path) + ": missing";
    if (a.path != b.path) return quoted(b.path) + ": expected, found is " + quoted(a.path);
    if (const char* what = TRY(difference(a, b))) return quoted(a.path) + ": " + what;
  }
}

}  // namespace caisson::image
