// SPDX-License-Identifier: Apache-2.0
// Making paths inside the container's root: every name is looked up with RESOLVE_IN_ROOT and used through
// its descriptor, so a link that changes under us leads nowhere else.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "runtime/child_root.h"
#include "sys/raw_calls.h"

namespace caisson::runtime {

namespace raw = sys::raw;

namespace {

// A path being resolved, in place: links are replaced by what they point to.
struct PathBuffer {
  char text[PATH_MAX];
  bool set(const char* path) {
    size_t size = strlen(path);
    if (size >= sizeof text) {
      errno = ENAMETOOLONG;
      return false;
    }
    memcpy(text, path, size + 1);
    return true;
  }
};

// `buffer` up to `start` is the directory, from `end` on the rest; the component between is a link that
// leads to `target`.
bool splice_link(PathBuffer& buffer, size_t start, size_t end, const char* target, size_t target_size) {
  PathBuffer out;
  size_t keep = target[0] == '/' ? 0 : start;
  size_t rest = strlen(buffer.text + end);
  if (keep + target_size + rest >= sizeof out.text) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(out.text, buffer.text, keep);
  memcpy(out.text + keep, target, target_size);
  memcpy(out.text + keep + target_size, buffer.text + end, rest + 1);
  memcpy(buffer.text, out.text, keep + target_size + rest + 1);
  return true;
}

}  // namespace

int child_make_path(int root, const char* path, bool file) {
  PathBuffer buffer;
  if (!buffer.set(path)) return -1;
  for (int links = 0; links < 40; ++links) {
    int parent = raw::open_in_root(root, "/", O_PATH | O_DIRECTORY);
    size_t at = 0;
    bool again = false;
    while (parent >= 0 && !again) {
      while (buffer.text[at] == '/') ++at;
      if (!buffer.text[at]) return parent;
      size_t start = at;
      while (buffer.text[at] && buffer.text[at] != '/') ++at;
      size_t end = at;
      while (buffer.text[at] == '/') ++at;
      bool last = !buffer.text[at];
      char saved = buffer.text[end];
      buffer.text[end] = 0;
      int next = raw::open_in_root(root, buffer.text, O_PATH | (last ? 0 : O_DIRECTORY));
      if (next < 0 && errno == ENOENT) {
        const char* name = buffer.text + start;
        bool made;
        if (last && file) {
          int fd = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0644);
          made = fd >= 0;
          if (made) close(fd);
        } else {
          made = mkdirat(parent, name, 0755) == 0;
        }
        if (made) {
          next = raw::open_in_root(root, buffer.text, O_PATH | (last ? 0 : O_DIRECTORY));
        } else if (errno == EEXIST) {
          char target[PATH_MAX];
          ssize_t size = readlinkat(parent, name, target, sizeof target);
          if (size > 0 && size < static_cast<ssize_t>(sizeof target)) {
            buffer.text[end] = saved;
            again = splice_link(buffer, start, end, target, static_cast<size_t>(size));
          }
        }
      }
      int err = errno;
      close(parent);
      if (!again) buffer.text[end] = saved;
      errno = err;
      parent = next;
    }
    if (!again) return -1;
    errno = ELOOP;
  }
  return -1;
}

int child_make_directory(int root, const char* path) { return child_make_path(root, path, false); }

}  // namespace caisson::runtime
