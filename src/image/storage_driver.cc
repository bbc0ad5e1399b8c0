// SPDX-License-Identifier: Apache-2.0
#include "image/storage_driver.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "image/image_store.h"
#include "sys/files.h"
#include "sys/nodes.h"

namespace caisson::image {

namespace {

constexpr const char* kMark = "/storage-driver";

// Overlay tells apart what is in a directory by the type that comes with each name (xfs with ftype=0 has none).
Result<> check_entry_types(const std::string& directory) {
  DIR* dir = opendir(directory.c_str());
  if (!dir) return fail_errno("open directory '%s'", directory.c_str());
  bool has_types = true;
  while (dirent* entry = readdir(dir)) has_types = has_types && entry->d_type != DT_UNKNOWN;
  closedir(dir);
  if (has_types) return {};
  return fail(ErrorKind::kUnsupported,
              "the file system of '%s' does not tell the types of directory entries (d_type); "
              "xfs has to be made with ftype=1",
              directory.c_str());
}

}  // namespace

Result<> probe_overlay(const std::string& root) {
  std::string base = root + "/tmp/image-probe-" + random_hex(8);
  Rollback cleanup;
  cleanup.add([&] {
    if (auto done = sys::remove_tree(base); !done) log_debug("%s, ignoring", done.error().message.c_str());
  });
  for (const char* part : {"/lower", "/lower2", "/upper", "/work"}) TRY(sys::make_dirs(base + part));
  TRY(sys::write_file(base + "/lower/file", "x", 0600));
  TRY(check_entry_types(base));
  struct statfs info {};
  bool is_overlay =
      statfs(base.c_str(), &info) == 0 && static_cast<unsigned long>(info.f_type) == OVERLAYFS_SUPER_MAGIC;
  auto try_it = [&]() -> Result<> {
    auto mount = TRY(mount_overlay({base + "/lower", base + "/lower2"}, base + "/upper", base + "/work", {}));
    if (unlinkat(mount.get(), "file", 0) < 0) return fail_errno("remove a file");
    auto upper = TRY(sys::open_file(base + "/upper", O_RDONLY | O_DIRECTORY));
    auto st = TRY(sys::stat_at(upper.get(), "file"));
    if (!st || !sys::is_whiteout(*st)) return fail(ErrorKind::kUnsupported, "no whiteout is made");
    return {};
  };
  auto done = try_it();
  if (done) return {};
  if (is_overlay)
    return fail(ErrorKind::kUnsupported, "'%s' lies on an overlay itself, which cannot carry another one",
                root.c_str());
  return fail(ErrorKind::kUnsupported, "overlay does not work on the file system of '%s': %s", root.c_str(),
              done.error().message.c_str());
}

Result<std::string> choose_storage_driver(const std::string& root, const std::string& asked, bool has_containers) {
  TRY(sys::make_dirs(root + "/tmp", 0700));
  auto before = sys::read_file(root + kMark, 64);
  std::string driver = asked.empty() && before ? std::string(trim(*before)) : asked;
  if (has_containers && !asked.empty()) {
    std::string used = before ? std::string(trim(*before)) : "overlay2";
    if (used != asked)
      return fail(ErrorKind::kConflict,
                  "'%s' has containers of the storage driver %s; remove them before it is used with %s", root.c_str(),
                  used.c_str(), asked.c_str());
  }
  if (driver != "vfs") {
    // Done at the first start only: later ones would have failed long ago.
    auto works = before && trim(*before) == "overlay2" ? Result<>{} : probe_overlay(root);
    if (!works && driver == "overlay2")
      return fail(ErrorKind::kUnsupported, "storage driver overlay2: %s", works.error().message.c_str());
    if (!works)
      log_warn("%s; file systems of containers are copied (storage driver vfs)", works.error().message.c_str());
    driver = works ? "overlay2" : "vfs";
  }
  if (!before || trim(*before) != driver) TRY(sys::replace_file(root + kMark, driver + "\n", 0600));
  return driver;
}

}  // namespace caisson::image
