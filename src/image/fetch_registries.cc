// SPDX-License-Identifier: Apache-2.0
// The one file that includes a TOML parser. The file is the administrator's, so mistakes are told with line and key.
#include "image/fetch_registries.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_UNRELEASED_FEATURES 0
// 3.3.0 asserts in a build without NDEBUG what a file like "[=]" does not keep, and then handles that
// case with an error of its own; the error is what a user must see in every build.
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>

#include <algorithm>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::image {
namespace {

constexpr size_t kMaxFile = 1 << 20;
constexpr size_t kMaxRules = 1000, kMaxMirrors = 100, kMaxNames = 10'000, kMaxDropIns = 200;

std::unexpected<Error> mistake(const std::string& file, const toml::node& at, const std::string& what) {
  return fail(ErrorKind::kInvalid, "%s:%u: %s", file.c_str(), static_cast<unsigned>(at.source().begin.line),
              what.c_str());
}

// "host[:port][/path]" without a scheme; what passes becomes part of a URL.
bool is_location(std::string_view text) {
  if (text.empty() || text.size() > 512 || text.front() == '/' || text.back() == '/') return false;
  for (char c : text)
    if (!isalnum(static_cast<unsigned char>(c)) && !std::string_view("._-/:[]@").contains(c)) return false;
  return !text.contains("//");
}

Result<> read_text(const std::string& file, const toml::table& table, std::string_view key, std::string& out) {
  const toml::node* node = table.get(key);
  if (!node) return {};
  auto text = node->value_exact<std::string>();
  if (!text) return mistake(file, *node, "'" + std::string(key) + "' must be a string");
  out = *text;
  return {};
}

Result<> read_flag(const std::string& file, const toml::table& table, std::string_view key, bool& out) {
  const toml::node* node = table.get(key);
  if (!node) return {};
  auto value = node->value_exact<bool>();
  if (!value) return mistake(file, *node, "'" + std::string(key) + "' must be true or false");
  out = *value;
  return {};
}

Result<const toml::table*> as_table(const std::string& file, const toml::node& node, const char* what) {
  if (const toml::table* table = node.as_table()) return table;
  return mistake(file, node, std::string(what) + " must be a table");
}

Result<RegistryMirror> read_mirror(const std::string& file, const toml::node& node, bool digest_only) {
  const toml::table& table = *TRY(as_table(file, node, "[[registry.mirror]]"));
  RegistryMirror mirror;
  std::string use;
  TRY(read_text(file, table, "location", mirror.location));
  TRY(read_flag(file, table, "insecure", mirror.insecure));
  TRY(read_text(file, table, "pull-from-mirror", use));
  if (!is_location(mirror.location))
    return mistake(file, node, "mirror without a location of the form host[:port][/path]");
  if (!use.empty() && digest_only)
    return mistake(file, node, "'pull-from-mirror' and 'mirror-by-digest-only' exclude each other");
  if (digest_only || use == "digest-only")
    mirror.use = RegistryMirror::Use::kDigestOnly;
  else if (use == "tag-only")
    mirror.use = RegistryMirror::Use::kTagOnly;
  else if (!use.empty() && use != "all")
    return mistake(file, node, "'pull-from-mirror' must be all, digest-only or tag-only");
  return mirror;
}

Result<RegistryRule> read_rule(const std::string& file, const toml::node& node) {
  const toml::table& table = *TRY(as_table(file, node, "[[registry]]"));
  RegistryRule rule;
  bool digest_only = false;
  TRY(read_text(file, table, "prefix", rule.prefix));
  TRY(read_text(file, table, "location", rule.location));
  TRY(read_flag(file, table, "insecure", rule.insecure));
  TRY(read_flag(file, table, "blocked", rule.blocked));
  TRY(read_flag(file, table, "mirror-by-digest-only", digest_only));
  if (rule.prefix.empty()) rule.prefix = rule.location;
  bool wildcard = rule.prefix.starts_with("*.");
  if (!is_location(wildcard ? rule.prefix.substr(2) : rule.prefix))
    return mistake(file, node, "registry without a prefix or location of the form host[:port][/path]");
  if (wildcard && rule.prefix.contains('/'))
    return mistake(file, node, "a prefix with a wildcard is of the form *.domain, without a path");
  if (!rule.location.empty() && !is_location(rule.location))
    return mistake(file, node, "'location' must be of the form host[:port][/path]");
  if (const toml::node* mirrors = table.get("mirror")) {
    const toml::array* list = mirrors->as_array();
    if (!list) return mistake(file, *mirrors, "mirrors are written as [[registry.mirror]]");
    if (list->size() > kMaxMirrors) return mistake(file, *mirrors, format("more than %zu mirrors", kMaxMirrors));
    for (const toml::node& mirror : *list) rule.mirrors.push_back(TRY(read_mirror(file, mirror, digest_only)));
  }
  return rule;
}

Result<> read_search(const std::string& file, const toml::table& root, RegistriesConfig& out) {
  const toml::node* node = root.get("unqualified-search-registries");
  if (!node) return {};
  const toml::array* list = node->as_array();
  if (!list || list->size() > kMaxMirrors)
    return mistake(file, *node, "'unqualified-search-registries' must be a list of registries");
  out.search.clear();
  for (const toml::node& entry : *list) {
    auto text = entry.value_exact<std::string>();
    if (!text || !is_location(*text)) return mistake(file, entry, "search registry is not of the form host[:port]");
    out.search.push_back(*text);
  }
  return {};
}

Result<> read_aliases(const std::string& file, const toml::table& root, RegistriesConfig& out) {
  const toml::node* node = root.get("aliases");
  if (!node) return {};
  const toml::table& table = *TRY(as_table(file, *node, "[aliases]"));
  if (table.size() > kMaxNames) return mistake(file, *node, format("more than %zu aliases", kMaxNames));
  for (const auto& [key, value] : table) {
    auto target = value.value_exact<std::string>();
    std::string name(key.str());
    if (!target) return mistake(file, value, "alias '" + name + "' must be a string");
    // An empty target takes an alias of an earlier file back.
    if (target->empty()) {
      out.aliases.erase(name);
      continue;
    }
    auto reference = spec::parse_reference(*target);
    if (!reference || !reference->tag.empty() || !reference->digest.empty())
      return mistake(file, value, "alias '" + name + "' must name an image without tag and digest");
    out.aliases[name] = reference->name();
  }
  return {};
}

Result<> merge(RegistriesConfig& out, const std::string& text, const std::string& file) {
  if (text.size() > kMaxFile) return fail(ErrorKind::kInvalid, "%s: larger than %zu bytes", file.c_str(), kMaxFile);
  // Beyond ASCII toml++ 3.3.0 runs into places it declares unreachable. Names and places are ASCII; a comment may
  // say what it likes.
  std::string ascii = text;
  for (char& c : ascii)
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  toml::parse_result parsed = toml::parse(ascii, file);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return fail(ErrorKind::kInvalid, "%s:%u: %s", file.c_str(), static_cast<unsigned>(error.source().begin.line),
                std::string(error.description()).c_str());
  }
  const toml::table& root = parsed.table();
  if (const toml::node* old = root.get("registries"))
    return mistake(file, *old, "version 1 of the format ([registries.*]) is not supported");
  TRY(read_search(file, root, out));
  TRY(read_aliases(file, root, out));
  const toml::node* node = root.get("registry");
  if (!node) return {};
  const toml::array* list = node->as_array();
  if (!list) return mistake(file, *node, "registries are written as [[registry]]");
  std::vector<RegistryRule> fresh;
  for (const toml::node& entry : *list) {
    RegistryRule rule = TRY(read_rule(file, entry));
    for (const RegistryRule& other : fresh)
      if (other.prefix == rule.prefix) return mistake(file, entry, "prefix '" + rule.prefix + "' is given twice");
    fresh.push_back(std::move(rule));
    if (fresh.size() > kMaxRules) return mistake(file, entry, format("more than %zu registries", kMaxRules));
  }
  std::erase_if(out.rules, [&](const RegistryRule& rule) {
    return std::any_of(fresh.begin(), fresh.end(), [&](const auto& other) { return other.prefix == rule.prefix; });
  });
  std::move(fresh.begin(), fresh.end(), std::back_inserter(out.rules));
  if (out.rules.size() > kMaxRules)
    return fail(ErrorKind::kInvalid, "%s: more than %zu registries", file.c_str(), kMaxRules);
  return {};
}

// Length of the part of `name` that the prefix covers, 0 for none. It ends where a part of a name can end.
size_t covered_by(const std::string& prefix, const std::string& name) {
  auto ends_at = [&](size_t at) { return at == name.size() || std::string_view("/:@").contains(name[at]); };
  if (!prefix.starts_with("*.")) return name.starts_with(prefix) && ends_at(prefix.size()) ? prefix.size() : 0;
  std::string_view suffix = std::string_view(prefix).substr(1);
  size_t host = name.find('/');
  size_t at = name.substr(0, host).rfind(suffix);
  if (at == std::string::npos || at == 0) return 0;
  return ends_at(at + suffix.size()) ? at + suffix.size() : 0;
}

}  // namespace

const RegistryRule* RegistriesConfig::find(const spec::Reference& reference) const {
  std::string name = reference.full();
  const RegistryRule* best = nullptr;
  for (const RegistryRule& rule : rules)
    if (covered_by(rule.prefix, name) > 0 && (!best || rule.prefix.size() > best->prefix.size())) best = &rule;
  return best;
}

std::string relocate(const RegistryRule& rule, const std::string& location, const std::string& name) {
  size_t covered = covered_by(rule.prefix, name);
  if (covered == 0) return "";
  return location.empty() ? name : location + name.substr(covered);
}

Result<RegistriesConfig> parse_registries_conf(const std::string& text, const std::string& name) {
  RegistriesConfig out;
  TRY(merge(out, text, name));
  return out;
}

Result<RegistriesConfig> load_registries_conf(const std::string& path) {
  RegistriesConfig out;
  if (sys::path_exists(path)) TRY(merge(out, TRY(sys::read_file(path, kMaxFile)), path));
  std::string policy = path.substr(0, path.rfind('/') + 1) + "policy.json";
  if (sys::path_exists(policy)) out.policy = TRY(parse_image_policy(TRY(sys::read_file(policy, kMaxFile)), policy));
  std::string directory = path + ".d";
  if (!sys::path_exists(directory)) return out;
  auto names = TRY(sys::list_dir(directory));
  std::erase_if(names, [](const std::string& name) { return !name.ends_with(".conf"); });
  if (names.size() > kMaxDropIns)
    return fail(ErrorKind::kInvalid, "'%s' holds more than %zu files", directory.c_str(), kMaxDropIns);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names)
    TRY(merge(out, TRY(sys::read_file(directory + "/" + name, kMaxFile)), directory + "/" + name));
  return out;
}

}  // namespace caisson::image
