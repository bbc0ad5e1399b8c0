// SPDX-License-Identifier: Apache-2.0
// Paths as `cp` gives them, looked up inside a container's root only, and what Docker tells of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "sys/nodes.h"
#include "wire/json.h"

namespace caisson::engine {

// The header X-Docker-Container-Path-Stat, before base64.
struct PathStat {
  std::string name;
  int64_t size = 0;
  uint32_t mode = 0;  // Go's os.FileMode
  std::string mtime;
  std::string link_target;  // as far as it can be followed, absolute; "" for anything but links
};
CAISSON_JSON(PathStat, CAISSON_FIELD("name", name), CAISSON_FIELD("size", size), CAISSON_FIELD("mode", mode),
             CAISSON_FIELD("mtime", mtime), CAISSON_FIELD("linkTarget", link_target))

// "a/../b/." -> "/b/.": absolute, cleaned by its text alone; a trailing slash or "/." stays, as it asks
// for the directory behind a link.
std::string absolute_path(std::string_view path);
// The last part: "." of "/b/.", "/" of "/".
std::string base_name(std::string_view absolute);
uint32_t go_file_mode(uint32_t st_mode);

// kNotFound when it is not there.
Result<PathStat> path_stat(int root, const std::string& absolute);
// Every link on the way followed inside the root; what does not exist is kept as it is written.
Result<std::string> follow_links(int root, const std::string& absolute);
// Where an archive may be extracted to, links followed: kInvalid when it is no directory, kDenied when it is
// read-only.
Result<std::string> find_extraction_point(int root, const std::string& absolute);
// uid and gid of the container's user, by its own passwd.
Result<std::pair<uint32_t, uint32_t>> ids_of_user(int root, const std::string& user);

}  // namespace caisson::engine
