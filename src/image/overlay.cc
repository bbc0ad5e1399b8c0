// SPDX-License-Identifier: Apache-2.0
// mount_overlay(): overlay over unpacked layers through the new mount API, as a detached mount.
#include <fcntl.h>
#include <linux/mount.h>

#include "base/log.h"
#include "image/image_store.h"
#include "image/vfs.h"
#include "sys/files.h"
#include "sys/mount.h"

namespace caisson::image {
namespace {

// fsconfig(2) takes strings of up to 255 bytes. A longer path is named through an open descriptor, which
// must stay open until the mount is made.
constexpr size_t kMaxOption = 255;

Result<std::string> option_path(const std::string& path, std::vector<UniqueFd>& held, bool always_short) {
  if (!always_short && path.size() <= kMaxOption) return path;
  held.push_back(TRY(sys::open_file(path, O_PATH | O_DIRECTORY)));
  return "/proc/self/fd/" + std::to_string(held.back().get());
}

}  // namespace

Result<UniqueFd> mount_overlay(const std::vector<std::string>& lowers, const std::string& upper,
                               const std::string& work, const OverlayOptions& options) {
  if (lowers.empty()) return fail(ErrorKind::kInvalid, "overlay: no layers");
  uint64_t attributes = options.read_only ? MOUNT_ATTR_RDONLY : 0;
  if (upper.empty() && lowers.size() == 1) {
    // Overlay wants two layers; one alone is just that directory.
    auto mount = TRY(sys::clone_mount(AT_FDCWD, lowers[0], false));
    TRY(sys::set_mount_attributes(mount.get(), MOUNT_ATTR_RDONLY, 0, 0, false));
    return mount;
  }
  std::vector<UniqueFd> held;
  std::vector<sys::FsOption> common;
  if (!upper.empty()) {
    // Left by a volatile mount that was not unmounted cleanly; the kernel refuses the directory with it.
    TRY(sys::remove_tree(work + "/work/incompat/volatile"));
    common.push_back({"upperdir", TRY(option_path(upper, held, false))});
    common.push_back({"workdir", TRY(option_path(work, held, false))});
    if (options.is_volatile) common.push_back({"volatile", ""});
  }
  common.push_back({"source", "overlay"});  // what the mount table shows
  if (options.metacopy) common.push_back({"metacopy", "on"});
  common.push_back({"xino", "off"});
  common.push_back({"index", "off"});

  std::vector<sys::FsOption> layered;
  for (auto lower = lowers.rbegin(); lower != lowers.rend(); ++lower)
    layered.push_back({"lowerdir+", TRY(option_path(*lower, held, false))});
  layered.insert(layered.end(), common.begin(), common.end());
  // CAISSON_OVERLAY_MOUNT, for tests, takes a step of the ladder away: "list", or "page" for mount(2).
  const char* forced = getenv("CAISSON_OVERLAY_MOUNT");
  bool by_page = forced && std::string_view(forced) == "page";
  auto mount =
      forced ? Result<UniqueFd>(fail_errno_of(EINVAL, "forced")) : sys::make_mount("overlay", layered, attributes);
  if (mount || mount.error().err != EINVAL) return mount;

  // COMPAT(linux<6.7): no "lowerdir+". From 6.5 on the option itself is refused; before, overlay is behind
  // the old interface, which collects anything and says no more than EINVAL when the mount is made. One
  // list in one option, kept short through descriptors, which also have no ":" that would need escaping.
  // 255 bytes are 14 layers; beyond that mount(2) with its page of options is the only way.
  log_debug("overlay: %s; trying one lowerdir list", mount.error().message.c_str());
  std::string list;
  for (auto lower = lowers.rbegin(); lower != lowers.rend(); ++lower)
    list += (list.empty() ? "" : ":") + TRY(option_path(*lower, held, true));
  std::vector<sys::FsOption> listed = {{"lowerdir", list}};
  listed.insert(listed.end(), common.begin(), common.end());
  if (list.size() <= kMaxOption && !by_page) return sys::make_mount("overlay", listed, attributes);
  const std::string& near = work.empty() ? lowers.back() : work;
  return sys::make_mount_by_page("overlay", listed, attributes, near.substr(0, near.rfind('/')));
}

Result<UniqueFd> mount_root(const LayerChain& chain, const std::string& upper, const std::string& work,
                            const OverlayOptions& options) {
  if (!chain.vfs_cache.empty()) return mount_vfs(chain.directories, chain.vfs_cache, upper, work, options.read_only);
  return mount_overlay(chain.directories, upper, work, options);
}

}  // namespace caisson::image
