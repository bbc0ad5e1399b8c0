// SPDX-License-Identifier: Apache-2.0
#include "cli/container_rows.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "cli/containers.h"
#include "cli/units.h"

namespace caisson::cli {

std::span<const Column> container_columns() {
  static constexpr Column kColumns[] = {{"ID", "CONTAINER ID"},
                                        {"Image", "IMAGE"},
                                        {"Command", "COMMAND"},
                                        {"RunningFor", "CREATED"},
                                        {"Status", "STATUS"},
                                        {"Ports", "PORTS"},
                                        {"Names", "NAMES"},
                                        {"Size", "SIZE"},
                                        {"Labels", "LABELS"},
                                        {"Mounts", "MOUNTS"},
                                        {"LocalVolumes", "LOCAL VOLUMES"},
                                        {"Networks", "NETWORKS"},
                                        {"State", "STATE"},
                                        {"CreatedAt", "CREATED AT"},
                                        {"Platform", "PLATFORM"}};
  return kColumns;
}

namespace {

struct Port {
  std::string ip, type;
  int64_t inside = 0, outside = 0;
};

std::string host_port(const std::string& ip, const std::string& port) {
  return (ip.find(':') != ip.npos ? "[" + ip + "]" : ip) + ":" + port;
}

std::string range_text(const Port& first, const Port& last) {
  std::string inside = std::to_string(first.inside), outside = std::to_string(first.outside);
  if (first.inside != last.inside) {
    inside += "-" + std::to_string(last.inside);
    outside += "-" + std::to_string(last.outside);
  }
  if (first.outside == 0) return inside + "/" + first.type;
  return host_port(first.ip, outside) + "->" + inside + "/" + first.type;
}

std::string names_text(const JsonValue& names, bool truncate) {
  std::vector<std::string> out;
  for (const JsonValue& name : names.items()) {
    std::string_view text = name.text();
    if (text.starts_with('/')) text.remove_prefix(1);
    // Further slashes make it an alias from a link; the name proper is enough.
    if (truncate && text.find('/') != text.npos) continue;
    out.emplace_back(text);
  }
  return join(out, ",");
}

std::string image_text(const JsonValue& container, bool truncate) {
  const std::string &image = container.at("Image").text(), &id = container.at("ImageID").text();
  if (image.empty()) return "<no image>";
  if (!truncate) return image;
  if (short_id(id) == short_id(image)) return short_id(id);
  // A reference with digest is shown without it.
  size_t at = image.find('@');
  if (at == image.npos) return image;
  std::string name = image.substr(0, at);
  return name;
}

}  // namespace

std::string ports_text(const JsonValue& ports) {
  std::vector<Port> list;
  for (const JsonValue& entry : ports.items())
    list.push_back({entry.at("IP").text(), entry.at("Type").text(), entry.at("PrivatePort").as_int(),
                    entry.at("PublicPort").as_int()});
  std::sort(list.begin(), list.end(), [](const Port& a, const Port& b) {
    if (a.inside != b.inside) return a.inside < b.inside;
    if (a.ip != b.ip) return a.ip < b.ip;
    if (a.outside != b.outside) return a.outside < b.outside;
    return a.type < b.type;
  });
  // Ranges grow per protocol and address; a port published under another number stands alone.
  std::vector<std::string> keys, mapped;
  std::map<std::string, std::pair<Port, Port>> groups;
  for (const Port& port : list) {
    std::string key = port.type;
    if (!port.ip.empty()) {
      if (port.outside != port.inside) {
        mapped.push_back(host_port(port.ip, std::to_string(port.outside)) + "->" + std::to_string(port.inside) + "/" +
                         port.type);
        continue;
      }
      key = port.ip + "/" + port.type;
    }
    auto [group, added] = groups.try_emplace(key, port, port);
    if (added) {
      keys.push_back(key);
    } else if (port.inside == group->second.second.inside + 1) {
      group->second.second = port;
    } else if (port.inside != group->second.second.inside) {
      mapped.push_back(range_text(group->second.first, group->second.second));
      group->second = {port, port};
    }
  }
  std::vector<std::string> out;
  for (const std::string& key : keys) out.push_back(range_text(groups.at(key).first, groups.at(key).second));
  std::vector<std::string> all = std::move(out);
  all.insert(all.end(), mapped.begin(), mapped.end());
  return join(all, ", ");
}

JsonValue container_row(const JsonValue& container, bool truncate) {
  JsonValue row = JsonValue::object();
  std::string command = container.at("Command").text();
  if (truncate) command = ellipsis(command, 20);
  row.set("Command", go_quote(command));
  int64_t created = container.at("Created").as_int();
  row.set("CreatedAt", local_time_text(created));
  row.set("ID", truncate ? short_id(container.at("Id").text()) : container.at("Id").text());
  row.set("Image", image_text(container, truncate));
  std::vector<std::string> labels, mounts, networks;
  for (const auto& [name, value] : container.at("Labels").members()) labels.push_back(name + "=" + value.text());
  std::sort(labels.begin(), labels.end());
  row.set("Labels", join(labels, ","));
  int64_t local = 0;
  for (const JsonValue& mount : container.at("Mounts").items()) {
    if (mount.at("Driver").text() == "local") ++local;
    std::string name = mount.at("Name").text().empty() ? mount.at("Source").text() : mount.at("Name").text();
    mounts.push_back(truncate ? ellipsis(name, 15) : name);
  }
  row.set("LocalVolumes", std::to_string(local));
  row.set("Mounts", join(mounts, ","));
  row.set("Names", names_text(container.at("Names"), truncate));
  for (const auto& [name, value] : container.at("NetworkSettings", "Networks").members()) networks.push_back(name);
  row.set("Networks", join(networks, ","));
  row.set("Platform", container.at("ImageManifestDescriptor", "platform"));
  row.set("Ports", ports_text(container.at("Ports")));
  row.set("RunningFor", age_text(created));
  int64_t rw = container.at("SizeRw").as_int(), root = container.at("SizeRootFs").as_int();
  std::string size = human_size(static_cast<double>(rw), 3);
  if (root > 0) size += " (virtual " + human_size(static_cast<double>(root), 3) + ")";
  row.set("Size", size);
  row.set("State", container.at("State").text());
  row.set("Status", container.at("Status").text());
  return row;
}

}  // namespace caisson::cli
