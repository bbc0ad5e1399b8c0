// SPDX-License-Identifier: Apache-2.0
#include "engine/cni_config.h"

#include <algorithm>
#include <iterator>

#include "base/text.h"
#include "sys/files.h"
#include "wire/json.h"

namespace caisson::engine {

namespace {

constexpr size_t kMaxFile = 1 << 20, kMaxPlugins = 32, kMaxFiles = 256, kMaxAddresses = 64;
constexpr std::string_view kVersions[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

size_t version_index(std::string_view version) {
  return static_cast<size_t>(std::find(std::begin(kVersions), std::end(kVersions), version) - std::begin(kVersions));
}
bool is_known_version(std::string_view version) { return version_index(version) < std::size(kVersions); }

// The specification's rule for names of networks and, with '/' refused, for types.
bool is_name(std::string_view name) {
  if (name.empty() || name.size() > 128) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && (i == 0 || (c != '_' && c != '.' && c != '-'))) return false;
  }
  return true;
}

// A JSON object's members by name, each as its text; the last of two equal ones counts.
Result<CniMembers> members_of(std::string_view text) {
  json::Reader reader(text);
  CniMembers out;
  TRY(reader.begin_object());
  std::string_view key;
  while (TRY(reader.next_key(key))) {
    std::string name(key);
    out[name] = std::string(TRY(reader.raw_value()));
  }
  TRY(reader.finish());
  return out;
}

Result<std::string> string_member(const CniMembers& members, const char* name) {
  auto found = members.find(name);
  if (found == members.end() || found->second == "null") return std::string();
  json::Reader reader(found->second);
  auto value = reader.read_string();
  if (!value) return fail(ErrorKind::kInvalid, "'%s' is not a string", name);
  return value;
}

Result<bool> bool_member(const CniMembers& members, const char* name) {
  auto found = members.find(name);
  if (found == members.end() || found->second == "null") return false;
  // The library that most engines use takes the words as strings too.
  if (found->second == "true" || found->second == "\"true\"") return true;
  if (found->second == "false" || found->second == "\"false\"") return false;
  return fail(ErrorKind::kInvalid, "'%s' is neither true nor false", name);
}

// The texts of an array's elements; none when there is no such member.
Result<std::vector<std::string>> elements(const CniMembers& members, const char* name, size_t limit) {
  std::vector<std::string> out;
  auto found = members.find(name);
  if (found == members.end() || found->second == "null") return out;
  json::Reader reader(found->second);
  if (reader.peek() != json::ValueType::kArray) return fail(ErrorKind::kInvalid, "'%s' is not a list", name);
  TRY(reader.begin_array());
  while (TRY(reader.next_element())) {
    if (out.size() >= limit) return fail(ErrorKind::kInvalid, "'%s' has more than %zu elements", name, limit);
    out.push_back(std::string(TRY(reader.raw_value())));
  }
  return out;
}

Result<std::vector<std::string>> strings(const CniMembers& members, const char* name) {
  std::vector<std::string> out;
  for (const auto& text : TRY(elements(members, name, kMaxAddresses))) {
    json::Reader reader(text);
    auto value = reader.read_string();
    if (!value) return fail(ErrorKind::kInvalid, "'%s' has an element that is not a string", name);
    out.push_back(std::move(*value));
  }
  return out;
}

Result<CniPlugin> parse_plugin(std::string_view text) {
  CniPlugin plugin;
  plugin.text = std::string(text);
  auto members = TRY(members_of(text));
  plugin.type = TRY(string_member(members, "type"));
  if (plugin.type.empty()) return fail(ErrorKind::kInvalid, "a plugin without 'type'");
  if (!is_name(plugin.type))
    return fail(ErrorKind::kInvalid, "'type' %s is not the name of a program",
                quoted(plugin.type.substr(0, 64)).c_str());
  if (auto found = members.find("capabilities"); found != members.end() && found->second != "null")
    for (const auto& [name, value] : TRY(members_of(found->second)))
      if (value == "true") plugin.capabilities.insert(name);
  return plugin;
}

// For people to look at: mistakes in it are the plugin's affair.
void find_subnets(const CniPlugin& plugin, std::vector<std::pair<std::string, std::string>>& out) {
  auto members = members_of(plugin.text);
  if (!members || !members->contains("ipam")) return;
  auto ipam = members_of((*members)["ipam"]);
  if (!ipam) return;
  auto add = [&](const CniMembers& range) {
    auto subnet = string_member(range, "subnet"), gateway = string_member(range, "gateway");
    if (subnet && !subnet->empty() && out.size() < kMaxAddresses) out.emplace_back(*subnet, gateway.value_or(""));
  };
  add(*ipam);
  for (const auto& set : elements(*ipam, "ranges", kMaxAddresses).value_or(std::vector<std::string>{})) {
    CniMembers holder{{"set", set}};
    for (const auto& range : elements(holder, "set", kMaxAddresses).value_or(std::vector<std::string>{}))
      if (auto inside = members_of(range)) add(*inside);
  }
}

Result<std::string> choose_version(const CniMembers& members) {
  auto version = TRY(string_member(members, "cniVersion"));
  auto more = TRY(strings(members, "cniVersions"));
  for (const auto& other : more)
    if (is_known_version(other) && (!is_known_version(version) || version_index(other) > version_index(version)))
      version = other;
  if (version.empty()) version = "0.1.0";  // so the specification says
  if (!is_known_version(version))
    return fail(ErrorKind::kUnsupported, "cniVersion %s is not supported: 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0 are",
                quoted(version.substr(0, 32)).c_str());
  return version;
}

}  // namespace

bool CniList::has_capability(std::string_view wanted) const {
  return std::any_of(plugins.begin(), plugins.end(),
                     [&](const CniPlugin& plugin) { return plugin.capabilities.contains(std::string(wanted)); });
}

bool CniList::at_least(std::string_view wanted) const { return version_index(version) >= version_index(wanted); }

std::string CniList::encode() const {
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  writer.key("cniVersion");
  writer.string(version);
  writer.key("name");
  writer.string(name);
  writer.key("disableCheck");
  writer.boolean(disable_check);
  writer.key("disableGC");
  writer.boolean(disable_gc);
  writer.key("plugins");
  writer.begin_array();
  for (const auto& plugin : plugins) writer.raw(plugin.text);
  writer.end_array();
  writer.end_object();
  return out;
}

Result<CniList> parse_cni_list(std::string_view text) {
  CniList list;
  auto members = TRY(members_of(text));
  list.name = TRY(string_member(members, "name"));
  if (!is_name(list.name))
    return fail(ErrorKind::kInvalid, "%s is not a name for a network: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                quoted(list.name.substr(0, 64)).c_str());
  list.version = TRY(choose_version(members));
  list.disable_check = TRY(bool_member(members, "disableCheck"));
  list.disable_gc = TRY(bool_member(members, "disableGC"));
  list.only_inlined = TRY(bool_member(members, "loadOnlyInlinedPlugins"));
  if (members.contains("plugins"))
    for (const auto& plugin : TRY(elements(members, "plugins", kMaxPlugins)))
      list.plugins.push_back(TRY(parse_plugin(plugin)));
  else if (members.contains("type"))
    list.plugins.push_back(TRY(parse_plugin(text)));
  for (const auto& plugin : list.plugins) find_subnets(plugin, list.subnets);
  return list;
}

static Result<CniList> load_list(const std::string& dir, const std::string& file) {
  auto list = TRY(parse_cni_list(TRY(sys::read_file(dir + "/" + file, kMaxFile))));
  list.file = dir + "/" + file;
  // Since 1.1 further plugins of a network lie in a directory of its name.
  if (auto names = sys::list_dir(dir + "/" + list.name); names && !list.only_inlined) {
    std::sort(names->begin(), names->end());
    for (const auto& name : *names) {
      if (!name.ends_with(".conf")) continue;
      if (list.plugins.size() >= kMaxPlugins) return fail(ErrorKind::kInvalid, "more than %zu plugins", kMaxPlugins);
      auto text = TRY(sys::read_file(dir + "/" + list.name + "/" + name, kMaxFile));
      list.plugins.push_back(TRY_CTX(parse_plugin(text), "'" + name + "'"));
      find_subnets(list.plugins.back(), list.subnets);
    }
  }
  if (list.plugins.empty()) return fail(ErrorKind::kInvalid, "no plugins");
  return list;
}

std::vector<CniList> load_cni_directory(const std::string& dir, std::vector<std::string>& problems) {
  std::vector<CniList> lists;
  auto names = sys::list_dir(dir);
  if (!names) {
    if (names.error().kind != ErrorKind::kNotFound) problems.push_back(names.error().message);
    return lists;
  }
  std::sort(names->begin(), names->end());
  for (const auto& name : *names) {
    if (!name.ends_with(".conflist") && !name.ends_with(".conf") && !name.ends_with(".json")) continue;
    if (lists.size() >= kMaxFiles) {
      problems.push_back(format("more than %zu networks in '%s'", kMaxFiles, dir.c_str()));
      break;
    }
    auto list = load_list(dir, name);
    if (!list) {
      problems.push_back("'" + dir + "/" + name + "': " + list.error().message);
      continue;
    }
    auto first =
        std::find_if(lists.begin(), lists.end(), [&](const CniList& other) { return other.name == list->name; });
    if (first != lists.end())
      problems.push_back("'" + list->file + "': '" + first->file + "' has a network '" + list->name + "' already");
    else
      lists.push_back(std::move(*list));
  }
  return lists;
}

std::string cni_plugin_input(const CniList& list, const CniPlugin& plugin, CniMembers members) {
  members["name"] = json::quote(list.name);
  members["cniVersion"] = json::quote(list.version);
  auto own = members_of(plugin.text);
  if (own) {
    own->erase("prevResult");
    own->erase("runtimeConfig");
    members.merge(*own);
  }
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  for (const auto& [name, text] : members) {
    writer.key(name);
    writer.raw(text);
  }
  writer.end_object();
  return out;
}

const CniResult::Address* CniResult::first(bool v6) const {
  auto found =
      std::find_if(addresses.begin(), addresses.end(), [&](const Address& address) { return address.v6 == v6; });
  return found == addresses.end() ? nullptr : &*found;
}

Result<CniResult> parse_cni_result(std::string_view text, const std::string& interface) {
  CniResult result;
  auto members = TRY(members_of(text));
  std::set<int64_t> outside;  // numbers of interfaces that are the host's
  int64_t number = 0;
  for (const auto& entry : TRY(elements(members, "interfaces", kMaxAddresses))) {
    auto fields = TRY(members_of(entry));
    auto name = TRY(string_member(fields, "name")), mac = TRY(string_member(fields, "mac"));
    bool inside = !TRY(string_member(fields, "sandbox")).empty();
    if (inside && name == interface) result.mac = mac;
    // The host's end is told after the bridge that it is on.
    if (!inside) {
      result.host_interface = name;
      outside.insert(number);
    }
    ++number;
  }
  for (const auto& entry : TRY(elements(members, "ips", kMaxAddresses))) {
    auto fields = TRY(members_of(entry));
    if (auto which = fields.find("interface"); which != fields.end())
      if (auto index = parse_int(which->second); index && outside.contains(*index)) continue;
    CniResult::Address address;
    auto whole = TRY(string_member(fields, "address"));
    auto parts = split_once(whole, '/');
    auto prefix = parse_uint(parts ? parts->second : "");
    if (!parts || !prefix || *prefix > 128)
      return fail(ErrorKind::kInvalid, "%s is not an address with its prefix", quoted(whole.substr(0, 64)).c_str());
    address.address = std::string(parts->first);
    address.prefix = static_cast<int>(*prefix);
    address.v6 = address.address.find(':') != std::string::npos;
    address.gateway = TRY(string_member(fields, "gateway"));
    result.addresses.push_back(std::move(address));
  }
  for (const auto& entry : TRY(elements(members, "routes", 1024))) {
    auto destination = TRY(string_member(TRY(members_of(entry)), "dst"));
    result.default_route = result.default_route || destination == "0.0.0.0/0";
    result.default_route6 = result.default_route6 || destination == "::/0";
  }
  if (auto dns = members.find("dns"); dns != members.end() && dns->second != "null") {
    auto fields = TRY(members_of(dns->second));
    result.name_servers = TRY(strings(fields, "nameservers"));
    result.search = TRY(strings(fields, "search"));
    result.dns_options = TRY(strings(fields, "options"));
  }
  return result;
}

std::string cni_one_line(std::string_view text, size_t limit) {
  std::string out;
  for (char c : trim(text)) {
    if (out.size() >= limit) return out + "...";
    auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  return out;
}

std::string cni_error_sentence(std::string_view text) {
  auto members = members_of(text);
  if (!members || !members->contains("code")) return "";
  auto message = string_member(*members, "msg"), details = string_member(*members, "details");
  std::string sentence = message ? *message : "";
  if (details && !details->empty()) sentence += (sentence.empty() ? "" : ": ") + *details;
  if (sentence.empty()) sentence = "no message";
  return cni_one_line(sentence, 960) + " (code " + cni_one_line((*members)["code"], 20) + ")";
}

}  // namespace caisson::engine
