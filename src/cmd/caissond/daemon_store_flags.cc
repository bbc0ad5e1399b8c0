// SPDX-License-Identifier: Apache-2.0
// Flags about how images and containers lie on the disk, when images go by themselves, and the registry server.
#include "base/text.h"
#include "cmd/caissond/daemon_flags.h"
#include "engine/prune.h"

namespace caisson {

namespace {

Result<> choose_driver(DaemonOptions& options, const std::string& name) {
  if (name == "overlay" || name == "overlayfs" || name == "overlay2") {
    options.engine.storage_driver = "overlay2";
    return {};
  }
  if (name == "vfs" || name.empty()) {
    options.engine.storage_driver = name;
    return {};
  }
  for (const char* known : {"aufs", "devicemapper", "btrfs", "zfs", "fuse-overlayfs", "windowsfilter"})
    if (name == known)
      return fail(ErrorKind::kUnsupported,
                  "storage driver not supported: '%s': there are overlay2, and vfs for "
                  "any file system",
                  known);
  return fail(ErrorKind::kUnsupported, "storage driver not supported: %s", quoted(name).c_str());
}

Result<> driver_option(DaemonOptions& options, const std::string& text) {
  auto pair = split_once(text, '=');
  if (!pair) return fail(ErrorKind::kInvalid, "expected a storage option as NAME=VALUE, got %s", quoted(text).c_str());
  std::string name = pair->first.starts_with("overlay2.") ? pair->first.substr(9) : pair->first;
  if (name == "size") {
    options.engine.default_storage_size = TRY(parse_size(pair->second));
    return {};
  }
  if (name == "override_kernel_check") {
    options.notices.push_back("--storage-opt override_kernel_check is accepted and does nothing");
    return {};
  }
  return fail(ErrorKind::kInvalid, "unknown storage option %s", quoted(pair->first).c_str());
}

constexpr Flag kFlags[] = {
    {.name = "image-gc-keep-label",
     .key = "image-gc-keep-labels",
     .argument = "LABEL",
     .help = "Images with this label (or LABEL=VALUE) never go by themselves; may be repeated",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (v.empty()) return fail(ErrorKind::kInvalid, "expected a label");
       o.engine.image_gc.keep_labels.push_back(v);
       return {};
     },
     .form = FlagForm::kList},
    {.name = "image-gc-keep-used",
     .key = "image-gc-keep-used",
     .argument = "DURATION",
     .help = "Images used within this time (\"720h\") stay; without --image-gc-max-size all others go",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       auto ago = engine::parse_until(v, 0);
       if (!ago || *ago >= 0)
         return fail(ErrorKind::kInvalid, "expected a duration like 720h, got %s", quoted(v).c_str());
       o.engine.image_gc.keep_used_ns = -*ago;
       return {};
     }},
    {.name = "image-gc-max-size",
     .key = "image-gc-max-size",
     .argument = "SIZE",
     .help = "Bytes that all images may take; above it the longest unused ones go, never those of containers",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.image_gc.max_bytes = TRY(parse_size(v));
       return {};
     }},
    {.name = "registry-listen",
     .key = "registry-listen",
     .argument = "ADDRESS",
     .help = "Serve a registry there, as `caisson registry serve` does (\"127.0.0.1:5000\"); off by default",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.registry.listen = v;
       return {};
     }},
    {.name = "registry-listen-htpasswd",
     .key = "registry-listen-htpasswd",
     .argument = "FILE",
     .help = "Who may use the served registry: lines of user:bcrypt",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute_path(v, o.registry.htpasswd); }},
    {.name = "registry-listen-read-only",
     .key = "registry-listen-read-only",
     .argument = nullptr,
     .help = "Nothing can be pushed to the served registry",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.registry.read_only = TRY(parse_bool(v));
       return {};
     }},
    {.name = "registry-listen-tlscert",
     .key = "registry-listen-tlscert",
     .argument = "FILE",
     .help = "Certificate of the served registry",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       return absolute_path(v, o.registry.tls_certificate);
     }},
    {.name = "registry-listen-tlskey",
     .key = "registry-listen-tlskey",
     .argument = "FILE",
     .help = "Its key",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> { return absolute_path(v, o.registry.tls_key); }},
    {.name = "storage-driver",
     .key = "storage-driver",
     .argument = "NAME",
     .help =
         "How file systems of containers are made: overlay2, or vfs, which copies (default: overlay2 where the data "
         "root can do it)",
     .apply = choose_driver},
    {.name = "storage-opt",
     .key = "storage-opts",
     .argument = "NAME=VALUE",
     .help =
         "Option of the storage driver; may be repeated. size=BYTES: most that a container may write, where the file "
         "system has project quotas",
     .apply = driver_option,
     .form = FlagForm::kList},
};

}  // namespace

std::span<const Flag> store_flags() { return kFlags; }

}  // namespace caisson
