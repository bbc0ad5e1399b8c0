// SPDX-License-Identifier: Apache-2.0
#include "network/endpoint_settings.h"

#include "base/text.h"
#include "sys/files.h"

namespace caisson::network {

Result<std::vector<Setting>> parse_settings(const std::vector<std::string>& texts, const std::string& interface) {
  std::vector<Setting> out;
  for (const auto& text : texts) {
    auto invalid = [&](const char* why) {
      return fail(ErrorKind::kInvalid, "invalid sysctl '%s' of an endpoint: %s", text.substr(0, 128).c_str(), why);
    };
    auto pair = split_once(text, '=');
    if (!pair) return invalid("it has no value");
    auto words = split(pair->first, '.');
    if (words.size() != 5 || words[0] != "net" || (words[3] != "IFNAME" && words[3] != "ifname"))
      return invalid("the form is net.FAMILY.GROUP.IFNAME.KEY");
    if ((words[1] != "ipv4" && words[1] != "ipv6") || (words[2] != "conf" && words[2] != "neigh"))
      return invalid("only net.ipv4 and net.ipv6, conf and neigh belong to an interface");
    for (char c : words[4])
      if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return invalid("no such key");
    out.push_back({"/proc/sys/net/" + words[1] + "/" + words[2] + "/" + interface + "/" + words[4], pair->second});
  }
  return out;
}

Result<> apply_settings(const std::vector<Setting>& settings) {
  for (const auto& setting : settings) TRY_CTX(sys::write_file(setting.path, setting.value), "set sysctl");
  return {};
}

}  // namespace caisson::network
