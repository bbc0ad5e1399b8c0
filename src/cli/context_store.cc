// SPDX-License-Identifier: Apache-2.0
#include "cli/context_store.h"

#include <algorithm>

#include "base/text.h"
#include "cli/context_digest.h"
#include "sys/files.h"

namespace caisson::cli {

Result<> check_context_name(const std::string& name) {
  if (name.empty()) return fail(ErrorKind::kInvalid, "context name cannot be empty");
  if (name == "default") return fail(ErrorKind::kInvalid, "\"default\" is a reserved context name");
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  bool good = name.size() >= 2 && name.size() <= 255 && letter(name[0]);
  for (char c : name) good = good && (letter(c) || std::string_view("_.+-").find(c) != std::string_view::npos);
  if (!good)
    return fail(ErrorKind::kInvalid,
                "context name \"%s\" is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\"",
                name.c_str());
  return {};
}

std::string ContextStore::meta_dir(const std::string& name) const { return root_ + "/meta/" + sha256_hex(name); }
std::string ContextStore::tls_dir(const std::string& name) const { return root_ + "/tls/" + sha256_hex(name); }

Result<ContextRecord> ContextStore::find(const std::string& name) const {
  std::string path = meta_dir(name) + "/meta.json";
  auto text = sys::read_file(path, kMaxContextMeta);
  if (!text && text.error().err == ENOENT)
    return fail(ErrorKind::kNotFound, "context \"%s\": context not found: open %s: no such file or directory",
                name.c_str(), path.c_str());
  if (!text) return with_context(text.error(), "context \"" + name + "\"");
  auto meta = JsonValue::parse(*text);
  if (!meta || !meta->is_object())
    return fail(ErrorKind::kCorrupt, "context \"%s\": '%s' is not a JSON object", name.c_str(), path.c_str());
  return ContextRecord{.name = name, .meta = std::move(*meta), .tls = {}};
}

Result<std::vector<ContextRecord>> ContextStore::list() const {
  std::vector<ContextRecord> out;
  std::string root = root_ + "/meta";
  if (!sys::path_exists(root)) return out;
  auto entries = TRY(sys::list_dir(root));
  for (const std::string& entry : entries) {
    auto text = sys::read_file(root + "/" + entry + "/meta.json", kMaxContextMeta);
    if (!text) continue;
    auto meta = JsonValue::parse(*text);
    if (!meta || !meta->is_object())
      return fail(ErrorKind::kCorrupt, "'%s/%s/meta.json' is not a JSON object", root.c_str(), entry.c_str());
    std::string name = meta->at("Name").text();
    out.push_back({.name = name, .meta = std::move(*meta), .tls = {}});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

std::vector<std::string> ContextStore::tls_names(const std::string& name) const {
  auto entries = sys::list_dir(tls_dir(name) + "/docker");
  if (!entries) return {};
  std::sort(entries->begin(), entries->end());
  if (entries->size() > kMaxContextFiles) entries->resize(kMaxContextFiles);
  return *entries;
}

Result<> ContextStore::read_tls(ContextRecord& record) const {
  for (const std::string& file : tls_names(record.name))
    record.tls["docker/" + file] = TRY(sys::read_file(tls_dir(record.name) + "/docker/" + file, kMaxContextFile));
  return {};
}

Result<> ContextStore::save(const ContextRecord& record) const {
  // The keys first: a context that is listed is complete.
  TRY(sys::remove_tree(tls_dir(record.name)));
  for (const auto& [file, text] : record.tls) {
    std::string path = tls_dir(record.name) + "/" + file;
    TRY(sys::make_dirs(path.substr(0, path.rfind('/')), 0700));
    TRY(sys::replace_file(path, text, 0600));
  }
  TRY(sys::make_dirs(meta_dir(record.name), 0755));
  return sys::replace_file(meta_dir(record.name) + "/meta.json", record.meta.dump(), 0644);
}

Result<> ContextStore::remove(const std::string& name) const {
  TRY(sys::remove_tree(meta_dir(name)));
  return sys::remove_tree(tls_dir(name));
}

}  // namespace caisson::cli
