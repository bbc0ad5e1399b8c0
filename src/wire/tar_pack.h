// SPDX-License-Identifier: Apache-2.0
// From files to a tar stream, links as such, while others may be changing them: one path as `cp` sends it,
// or all of a mount. Whole seconds only, as Docker's archives have them; sockets are left out.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "sys/tree_walk.h"
#include "wire/tar_writer.h"

namespace caisson::tar {

class TreeSource : public ByteSource {
 public:
  // `path` is absolute and looked up as if `root` were "/"; a slash or "/." behind a link asks for the directory
  // it leads to. The names in the archive begin with `name`: "etc" gives "etc/", "etc/hosts".
  static Result<std::unique_ptr<TreeSource>> open(int root, const std::string& path, const std::string& name);
  // Everything of the mount that `root` is, names without a leading slash.
  static Result<std::unique_ptr<TreeSource>> open_mount(int root);
  // The upper directory of an overlay as a layer's change set (OCI image spec, "layer"): whiteouts and opaque
  // directories become ".wh." members, extended attributes that a layer may carry stay. What `skip` names
  // (path without a leading slash) is left out, but not what lies below it.
  using Skip = std::function<bool(const std::string& path, const sys::FileStat& st)>;
  static Result<std::unique_ptr<TreeSource>> open_layer(UniqueFd upper, Skip skip);

  Result<size_t> read(std::span<char> buffer) override;
  Result<> copy_to(ByteSink& out);

 private:
  class Buffer : public ByteSink {
   public:
    Result<> write(std::string_view data) override {
      bytes.append(data);
      return {};
    }
    std::string bytes;
    size_t used = 0;
  };
  TreeSource() = default;
  Result<> step();
  Result<> add(int dir, const std::string& name, const std::string& path, const sys::FileStat& st);
  Result<> begin_file(int dir, const std::string& name, Entry& entry);
  Result<> add_data();
  Result<> add_mark(const std::string& path);
  Result<> add_layer_marks(const sys::TreeWalk::Entry& entry);

  Buffer buffer_;
  Writer writer_{buffer_};
  std::optional<sys::TreeWalk> walk_;
  std::string prefix_;
  bool is_layer_ = false;
  Skip skip_;
  UniqueFd file_;  // being written
  uint64_t file_left_ = 0;
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;
  bool finished_ = false;
};

}  // namespace caisson::tar
