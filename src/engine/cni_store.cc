// SPDX-License-Identifier: Apache-2.0
#include "engine/cni_store.h"

#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "sys/files.h"
#include "wire/json.h"

namespace caisson::engine {

CAISSON_JSON(CniAttachment, CAISSON_FIELD("network", network), CAISSON_FIELD("interface", interface),
             CAISSON_FIELD("netns", netns), CAISSON_FIELD("args", args), CAISSON_FIELD("list", list),
             CAISSON_FIELD("runtime", runtime), CAISSON_FIELD("result", result), CAISSON_FIELD("ports", ports),
             CAISSON_FIELD("order", order))

Result<> CniStore::save(const std::string& container_id, const CniAttachment& attachment) {
  std::string directory = directory_ + "/" + container_id;
  TRY(sys::make_dirs(directory, 0700));
  return sys::replace_file(directory + "/" + attachment.interface, json::encode(attachment), 0600, true);
}

Result<> CniStore::remove(const std::string& container_id, const std::string& interface) {
  std::string directory = directory_ + "/" + container_id;
  TRY(sys::remove_file(directory + "/" + interface));
  ::rmdir(directory.c_str());  // the last one's; otherwise it is not empty
  return {};
}

std::vector<CniAttachment> CniStore::of(const std::string& container_id) const {
  std::vector<CniAttachment> out;
  std::string directory = directory_ + "/" + container_id;
  for (const auto& name : sys::list_dir(directory).value_or(std::vector<std::string>{})) {
    if (name.contains(".tmp-")) {  // a write that was cut short
      (void)sys::remove_file(directory + "/" + name);
      continue;
    }
    auto text = sys::read_file(directory + "/" + name);
    auto attachment = text ? json::decode<CniAttachment>(*text) : Result<CniAttachment>(std::unexpected(text.error()));
    if (attachment && attachment->interface == name)
      out.push_back(std::move(*attachment));
    else
      log_error("CNI attachment '%s/%s' cannot be read: %s", directory.c_str(), name.substr(0, 64).c_str(),
                attachment ? "it is of another interface" : attachment.error().message.c_str());
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.order < b.order; });
  return out;
}

bool CniStore::has(const std::string& container_id) const { return sys::path_exists(directory_ + "/" + container_id); }

std::vector<std::string> CniStore::containers() const {
  auto names = sys::list_dir(directory_).value_or(std::vector<std::string>{});
  std::erase_if(names, [](const std::string& name) { return name.size() != 64 || !is_hex(name); });
  return names;
}

}  // namespace caisson::engine
