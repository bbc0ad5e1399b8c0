// SPDX-License-Identifier: Apache-2.0
#include "image/archive_legacy.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "image/packed_stream.h"
#include "spec/oci_image.h"
#include "spec/reference.h"
#include "sys/files.h"
#include "wire/compress.h"
#include "wire/digest.h"

namespace caisson::image {
namespace {

constexpr size_t kMaxLegacyDocument = 8 << 20;
constexpr size_t kMaxLegacyDocuments = 32 << 20;  // of all layers and images together
constexpr size_t kMaxLayers = 500;

using Members = std::map<std::string, json::Raw>;

struct LegacyCommand {
  std::vector<std::string> cmd;
};
CAISSON_JSON(LegacyCommand, CAISSON_FIELD("Cmd", cmd))
struct LegacyLayer {
  std::string id, parent, created, author, comment, docker_version;
  LegacyCommand made_by;
};
CAISSON_JSON(LegacyLayer, CAISSON_FIELD("id", id), CAISSON_FIELD("parent", parent), CAISSON_FIELD("created", created),
             CAISSON_FIELD("author", author), CAISSON_FIELD("comment", comment),
             CAISSON_FIELD("docker_version", docker_version), CAISSON_FIELD("container_config", made_by))

bool is_legacy_id(const std::string& text) { return digest::is_valid("sha256:" + text); }

// Member by member in the order of Docker's own structure: the text decides about the id.
std::string history_entry(const LegacyLayer& layer) {
  std::string out = "{\"created\":" + json::quote(layer.created);
  if (!layer.author.empty()) out += ",\"author\":" + json::quote(layer.author);
  if (std::string by = join(layer.made_by.cmd, " "); !by.empty()) out += ",\"created_by\":" + json::quote(by);
  if (!layer.comment.empty()) out += ",\"comment\":" + json::quote(layer.comment);
  return out + "}";
}

// As Go writes a raw value: without space between its parts, and some characters of strings escaped.
std::string compact(std::string_view json) {
  std::string out;
  bool in_string = false, escaped = false;
  for (char c : json) {
    if (!in_string && (c == ' ' || c == '\n' || c == '\t' || c == '\r')) continue;
    if (in_string && (c == '<' || c == '>' || c == '&')) {
      out += c == '<' ? "\\u003c" : c == '>' ? "\\u003e" : "\\u0026";
      continue;
    }
    if (!escaped && c == '"') in_string = !in_string;
    escaped = in_string && !escaped && c == '\\';
    out += c;
  }
  return out;
}

Result<std::string> diff_id_of(const SpooledBlob& layer) {
  auto fd = TRY(layer.open());
  sys::FdSource source(fd.get());
  auto plain = TRY(compress::Decompressor::open(source, kMaxStreamBytes));
  if (plain->format() == compress::Format::kNone) return layer.digest();
  digest::HashingSource hashing(*plain);
  std::vector<char> buffer(256 << 10);
  while (TRY(hashing.read(buffer)) > 0) {
  }
  return hashing.finish();
}

class LegacyReader {
 public:
  explicit LegacyReader(ArchiveMembers& members) : members_(members) {}

  Result<LegacyImage> image(const std::string& id) {
    LegacyImage out;
    std::vector<std::string> chain;  // top first
    for (std::string at = id; !at.empty(); at = TRY(layer(at))->parent) {
      if (chain.size() >= kMaxLayers)
        return fail(ErrorKind::kInvalid, "image archive: more than %zu layers below one another", kMaxLayers);
      chain.push_back(at);
    }
    std::string diff_ids, history;
    for (auto step = chain.rbegin(); step != chain.rend(); ++step) {
      SpooledBlob* blob = members_.find(*step + "/layer.tar");
      if (!blob) return fail(ErrorKind::kInvalid, "image archive: layer %s is missing", quoted(*step).c_str());
      out.layers.push_back(blob);
      auto& known = diff_ids_[*step];
      if (known.empty()) known = TRY_CTX(diff_id_of(*blob), "image archive: layer " + quoted(*step));
      diff_ids += (diff_ids.empty() ? "\"" : ",\"") + known + "\"";
      history += (history.empty() ? "" : ",") + history_entry(*TRY(layer(*step)));
    }
    auto members = json::decode<Members>(TRY(members_.text(id + "/json", kMaxLegacyDocument)));
    if (!members)
      return fail(ErrorKind::kInvalid, "image archive: %s/json: %s", id.c_str(), members.error().message.c_str());
    for (const char* gone : {"id", "parent", "Size", "parent_id", "layer_id", "throwaway"}) members->erase(gone);
    for (auto& [key, value] : *members) value.text = compact(value.text);
    (*members)["rootfs"] = {"{\"type\":\"layers\",\"diff_ids\":[" + diff_ids + "]}"};
    (*members)["history"] = {compact("[" + history + "]")};
    out.config_json = json::encode(*members);
    TRY(account(out.config_json.size()));
    return out;
  }

 private:
  Result<> account(size_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= kMaxLegacyDocuments) return {};
    return fail(ErrorKind::kInvalid, "image archive: documents of more than %zu bytes together", kMaxLegacyDocuments);
  }
  Result<const LegacyLayer*> layer(const std::string& id) {
    auto found = layers_.find(id);
    if (found != layers_.end()) return &found->second;
    if (!is_legacy_id(id)) return fail(ErrorKind::kInvalid, "image archive: %s is no layer id", quoted(id).c_str());
    std::string text = TRY(members_.text(id + "/json", kMaxLegacyDocument));
    TRY(account(text.size()));
    auto read = json::decode<LegacyLayer>(text);
    if (!read) return fail(ErrorKind::kInvalid, "image archive: %s/json: %s", id.c_str(), read.error().message.c_str());
    return &(layers_[id] = std::move(*read));
  }

  ArchiveMembers& members_;
  std::map<std::string, LegacyLayer> layers_;
  std::map<std::string, std::string> diff_ids_;
  size_t bytes_ = 0;
};

}  // namespace

Result<std::vector<LegacyImage>> read_legacy_archive(ArchiveMembers& members) {
  using Repositories = std::map<std::string, std::map<std::string, std::string>>;
  auto repositories = json::decode<Repositories>(TRY(members.text("repositories", kMaxLegacyDocument)));
  if (!repositories)
    return fail(ErrorKind::kInvalid, "image archive: 'repositories': %s", repositories.error().message.c_str());
  std::map<std::string, std::vector<std::string>> tags;  // by layer id
  for (const auto& [name, tagged] : *repositories)
    for (const auto& [tag, id] : tagged) {
      auto reference = spec::parse_reference(name + ":" + tag);
      if (!reference)
        return fail(ErrorKind::kInvalid, "image archive: invalid tag %s", quoted(name + ":" + tag).c_str());
      tags[id].push_back(reference->familiar());
    }
  LegacyReader reader(members);
  std::vector<LegacyImage> out;
  for (auto& [id, names] : tags) {
    out.push_back(TRY(reader.image(id)));
    out.back().tags = std::move(names);
  }
  return out;
}

}  // namespace caisson::image
