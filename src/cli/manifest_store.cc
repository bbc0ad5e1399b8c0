// SPDX-License-Identifier: Apache-2.0
#include "cli/manifest_store.h"

#include <algorithm>

#include "spec/oci_image.h"
#include "sys/files.h"

namespace caisson::cli {

namespace {

constexpr size_t kMaxRecord = 32 << 20;  // the document stands in it twice, once as base64

Result<JsonValue> read_record(const std::string& path) {
  JsonValue record = TRY_CTX(JsonValue::parse(TRY(sys::read_file(path, kMaxRecord))), "'" + path + "'");
  if (!record.is_object()) return fail(ErrorKind::kCorrupt, "'%s' is not a JSON object", path.c_str());
  return record;
}

std::unexpected<Error> no_such(const spec::Reference& reference) {
  return fail(ErrorKind::kNotFound, "No such manifest: %s", reference.full().c_str());
}

}  // namespace

std::string manifest_file_name(const spec::Reference& reference) {
  std::string out = reference.full();
  std::replace(out.begin(), out.end(), ':', '-');
  std::replace(out.begin(), out.end(), '/', '_');
  return out;
}

Result<std::vector<JsonValue>> ManifestStore::list(const spec::Reference& list) const {
  std::string directory = root_ + "/" + manifest_file_name(list);
  auto names = sys::list_dir(directory);
  if (!names && names.error().err == ENOENT) return no_such(list);
  if (!names) return std::unexpected(std::move(names).error());
  std::sort(names->begin(), names->end());
  std::vector<JsonValue> out;
  for (const std::string& name : *names) out.push_back(TRY(read_record(directory + "/" + name)));
  return out;
}

Result<JsonValue> ManifestStore::find(const spec::Reference& list, const spec::Reference& manifest) const {
  auto record = read_record(root_ + "/" + manifest_file_name(list) + "/" + manifest_file_name(manifest));
  if (!record && record.error().err == ENOENT) return no_such(manifest);
  return record;
}

Result<> ManifestStore::save(const spec::Reference& list, const spec::Reference& manifest,
                             const JsonValue& record) const {
  std::string directory = root_ + "/" + manifest_file_name(list);
  TRY(sys::make_dirs(directory));
  return sys::replace_file(directory + "/" + manifest_file_name(manifest), record.dump());
}

Result<> ManifestStore::remove(const spec::Reference& list) const {
  return sys::remove_tree(root_ + "/" + manifest_file_name(list));
}

bool is_known_platform(const std::string& os, const std::string& architecture) {
  static constexpr const char* kKnown[] = {
      "darwin/386",    "darwin/amd64",   "darwin/arm",    "darwin/arm64",  "dragonfly/amd64", "freebsd/386",
      "freebsd/amd64", "freebsd/arm",    "linux/386",     "linux/amd64",   "linux/arm",       "linux/arm64",
      "linux/mips64",  "linux/mips64le", "linux/ppc64le", "linux/riscv64", "linux/s390x",     "netbsd/386",
      "netbsd/amd64",  "netbsd/arm",     "openbsd/386",   "openbsd/amd64", "openbsd/arm",     "plan9/386",
      "plan9/amd64",   "solaris/amd64",  "windows/386",   "windows/amd64", "windows/arm",     "windows/arm64"};
  std::string both = os + "/" + architecture;
  return std::any_of(std::begin(kKnown), std::end(kKnown), [&](const char* known) { return both == known; });
}

Result<ManifestList> assemble_list(const spec::Reference& target, const std::vector<JsonValue>& records) {
  JsonValue entries = JsonValue::array();
  for (const JsonValue& record : records) {
    auto reference = TRY(spec::parse_reference(record.at("Ref").text()));
    const JsonValue& descriptor = record.at("Descriptor");
    const JsonValue& platform = descriptor.at("platform");
    if (platform.at("architecture").text().empty() || platform.at("os").text().empty())
      return fail(ErrorKind::kInvalid, "manifest %s must have an OS and Architecture to be pushed to a registry",
                  reference.full().c_str());
    if (reference.domain != target.domain)
      return fail(ErrorKind::kInvalid,
                  "cannot use source images from a different registry than the target image: %s != %s",
                  reference.domain.c_str(), target.domain.c_str());
    JsonValue entry = JsonValue::object();
    for (const char* member : {"mediaType", "size", "digest"}) entry.set(member, descriptor.at(member));
    entry.set("platform", platform);
    entries.push(std::move(entry));
  }
  bool is_oci = !records.empty() && records[0].at("Descriptor", "mediaType").text() == spec::kOciManifest;
  ManifestList out{std::string(is_oci ? spec::kOciIndex : spec::kDockerManifestList), ""};
  JsonValue document = JsonValue::object();
  document.set("schemaVersion", 2);
  document.set("mediaType", out.media_type);
  document.set("manifests", std::move(entries));
  out.text = indent_json(document.dump(true), 3);
  return out;
}

}  // namespace caisson::cli
