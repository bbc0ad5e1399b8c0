// SPDX-License-Identifier: Apache-2.0
#include "image/registry_store.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "spec/reference.h"
#include "sys/files.h"
#include "wire/digest.h"

namespace caisson::image {

namespace {

// Blobs that were pushed and that no manifest has named yet; a push may take its time.
constexpr int64_t kUnnamedNs = int64_t{24} * 3600 * 1'000'000'000;

const std::vector<std::string> kRegistrySchema = {
    "CREATE TABLE registry_manifests(repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, "
    "document "
    "TEXT NOT NULL, PRIMARY KEY(repository, digest));"
    "CREATE TABLE registry_tags(repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY "
    "KEY(repository, tag));"
    "CREATE TABLE registry_blobs(repository TEXT NOT NULL, digest TEXT NOT NULL, since_ns INTEGER NOT NULL, was_named "
    "INTEGER NOT NULL, PRIMARY KEY(repository, digest))"};

// Manifest and index in one: what each kind needs of it.
struct PushedDocument {
  int64_t schema_version = 0;
  std::string media_type, artifact_type;
  std::optional<spec::Descriptor> config, subject;
  std::vector<spec::Descriptor> layers, manifests;
  std::map<std::string, std::string> annotations;
};
CAISSON_JSON(PushedDocument, CAISSON_FIELD("schemaVersion", schema_version), CAISSON_FIELD("mediaType", media_type),
             CAISSON_FIELD("artifactType", artifact_type), CAISSON_FIELD("config", config),
             CAISSON_FIELD("subject", subject), CAISSON_FIELD("layers", layers), CAISSON_FIELD("manifests", manifests),
             CAISSON_FIELD("annotations", annotations))

struct PushedManifest {
  RegistryManifest about;
  std::vector<std::string> blobs, children;
};

Result<PushedManifest> parse_pushed(const std::string& media_type, const std::string& body) {
  bool is_index = spec::is_index_type(media_type);
  if (!is_index && !spec::is_manifest_type(media_type))
    return fail(ErrorKind::kInvalid, "manifests of type %s are not taken", quoted(media_type).c_str());
  auto document = json::decode<PushedDocument>(body);
  if (!document) return fail(ErrorKind::kInvalid, "manifest: %s", document.error().message.c_str());
  if (document->schema_version != 2) return fail(ErrorKind::kInvalid, "manifest: its schema version is not 2");
  if (!document->media_type.empty() && document->media_type != media_type)
    return fail(ErrorKind::kInvalid, "manifest: it calls itself %s and is sent as %s",
                quoted(document->media_type).c_str(), quoted(media_type).c_str());
  PushedManifest out;
  out.about = {.digest = digest::sha256(body), .media_type = media_type, .size = static_cast<int64_t>(body.size())};
  out.about.artifact_type = document->artifact_type;
  out.about.annotations = std::move(document->annotations);
  auto take = [](const spec::Descriptor& descriptor, std::vector<std::string>& list) -> Result<> {
    if (!digest::is_valid(descriptor.digest))
      return fail(ErrorKind::kInvalid, "manifest: %s is no digest", quoted(descriptor.digest).c_str());
    list.push_back(descriptor.digest);
    return {};
  };
  if (document->subject) {
    std::vector<std::string> subject;
    TRY(take(*document->subject, subject));
    out.about.subject = subject.front();
  }
  if (is_index) {
    if (!document->layers.empty() || document->config)
      return fail(ErrorKind::kInvalid, "manifest: an index has no config and no layers");
    for (const auto& child : document->manifests) TRY(take(child, out.children));
    return out;
  }
  if (!document->manifests.empty() || !document->config)
    return fail(ErrorKind::kInvalid, "manifest: it needs a config, and lists no manifests");
  TRY(take(*document->config, out.blobs));
  if (out.about.artifact_type.empty()) out.about.artifact_type = document->config->media_type;
  // Layers with addresses of their own need not be here.
  for (const auto& layer : document->layers)
    if (layer.urls.empty()) TRY(take(layer, out.blobs));
  return out;
}

bool is_image_layer(std::string_view media_type) {
  for (std::string_view known :
       {spec::kOciLayerTar, spec::kOciLayerGzip, spec::kOciLayerZstd, spec::kDockerLayerTar, spec::kDockerLayerGzip})
    if (media_type == known) return true;
  return false;
}

const char* own_architecture() {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#else
  return "unknown";
#endif
}

}  // namespace

struct RegistryStore::Mutex : std::mutex {};

RegistryStore::RegistryStore(const std::string& root, db::Database& database, ImageStore& images)
    : database_(database), images_(images), uploads_(root + "/tmp"), mutex_(std::make_unique<Mutex>()) {}
RegistryStore::~RegistryStore() = default;

Result<std::unique_ptr<RegistryStore>> RegistryStore::open(const std::string& root, db::Database& database,
                                                           ImageStore& images) {
  std::unique_ptr<RegistryStore> store(new RegistryStore(root, database, images));
  TRY(database.migrate("registry", kRegistrySchema));
  TRY_CTX(store->load(), "registry");
  return store;
}

Result<> RegistryStore::load() {
  TRY(database_.query("SELECT repository, digest, media_type, document FROM registry_manifests", {},
                      [&](const db::Row& row) {
                        auto parsed = parse_pushed(row.text(2), row.text(3));
                        if (!parsed || parsed->about.digest != row.text(1))
                          return log_warn("registry: manifest '%s' of '%s' is damaged, ignoring", row.text(1).c_str(),
                                          row.text(0).c_str());
                        repositories_[row.text(0)].manifests[row.text(1)] = {
                            std::move(parsed->about), std::move(parsed->blobs), std::move(parsed->children)};
                      }));
  TRY(database_.query("SELECT repository, tag, digest FROM registry_tags", {}, [&](const db::Row& row) {
    auto& repository = repositories_[row.text(0)];
    if (repository.manifests.contains(row.text(2))) repository.tags[row.text(1)] = row.text(2);
  }));
  // A blob whose hold did not outlive the machine's last start is none.
  TRY(database_.query(
      "SELECT b.repository, b.digest, b.since_ns, b.was_named FROM registry_blobs b JOIN held_blobs h ON "
      "h.digest=b.digest AND h.holder='registry/'||b.repository",
      {}, [&](const db::Row& row) {
        repositories_[row.text(0)].blobs[row.text(1)] = {row.integer(2), row.integer(3) != 0};
      }));
  return release_forgotten();
}

// A hold comes before the row that it is for. Where the engine died in between nobody else would ever let go of it.
Result<> RegistryStore::release_forgotten() {
  std::vector<std::pair<std::string, std::string>> forgotten;
  TRY(database_.query(
      "SELECT h.digest, h.holder FROM held_blobs h WHERE h.holder LIKE 'registry/%' AND NOT EXISTS (SELECT 1 FROM "
      "registry_blobs b WHERE b.digest=h.digest AND 'registry/'||b.repository=h.holder) AND NOT EXISTS (SELECT 1 FROM "
      "registry_manifests m WHERE m.digest=h.digest AND 'registry/'||m.repository=h.holder)",
      {}, [&](const db::Row& row) { forgotten.emplace_back(row.text(0), row.text(1)); }));
  for (const auto& [digest, holder] : forgotten) TRY(images_.release_blob(digest, holder));
  if (!forgotten.empty()) images_.collect_garbage();
  return {};
}

void RegistryStore::set_local_name(const std::string& name) {
  std::lock_guard lock(*mutex_);
  local_name_ = name;
}

std::string RegistryStore::local_name() const {
  std::lock_guard lock(*mutex_);
  return local_name_;
}

// Images that somebody has tagged with the registry's name.
std::vector<Image> RegistryStore::local_images(const std::string& repository) const {
  std::string prefix = local_name();
  if (prefix.empty()) return {};
  prefix += "/" + repository + ":";
  std::vector<Image> out;
  for (auto& image : images_.list())
    if (std::any_of(image.repo_tags.begin(), image.repo_tags.end(),
                    [&](const std::string& tag) { return tag.starts_with(prefix); }))
      out.push_back(std::move(image));
  return out;
}

std::optional<Image> RegistryStore::local_image(const std::string& repository, const std::string& tag) const {
  std::string name = local_name();
  if (name.empty()) return std::nullopt;
  auto found = images_.find(name + "/" + repository + ":" + tag);
  if (!found) return std::nullopt;
  return *std::move(found);
}

std::vector<std::string> RegistryStore::repositories() const {
  std::set<std::string> out;
  std::string prefix = local_name() + "/";
  for (const auto& image : images_.list())
    for (const auto& tag : image.repo_tags)
      if (prefix.size() > 1 && tag.starts_with(prefix))
        out.insert(tag.substr(prefix.size(), tag.rfind(':') - prefix.size()));
  std::lock_guard lock(*mutex_);
  for (const auto& [name, repository] : repositories_)
    if (!repository.manifests.empty()) out.insert(name);
  return {out.begin(), out.end()};
}

bool RegistryStore::has_repository(const std::string& repository) const {
  {
    std::lock_guard lock(*mutex_);
    if (auto found = repositories_.find(repository); found != repositories_.end() && !found->second.empty())
      return true;
  }
  return !local_images(repository).empty();
}

std::vector<std::string> RegistryStore::tags(const std::string& repository) const {
  std::set<std::string> out;
  std::string prefix = local_name() + "/" + repository + ":";
  for (const auto& image : local_images(repository))
    for (const auto& tag : image.repo_tags)
      if (tag.starts_with(prefix)) out.insert(tag.substr(prefix.size()));
  std::lock_guard lock(*mutex_);
  if (auto found = repositories_.find(repository); found != repositories_.end())
    for (const auto& [tag, digest] : found->second.tags) out.insert(tag);
  return {out.begin(), out.end()};
}

bool RegistryStore::has_blob(const std::string& repository, const std::string& digest) const {
  if (!digest::is_valid(digest)) return false;
  {
    std::lock_guard lock(*mutex_);
    if (auto found = repositories_.find(repository); found != repositories_.end())
      if (found->second.blobs.contains(digest)) return images_.has_blob(digest);
  }
  for (const auto& image : local_images(repository)) {
    bool is_its = image.id == digest || std::find(image.layer_digests.begin(), image.layer_digests.end(), digest) !=
                                            image.layer_digests.end();
    if (is_its) return images_.has_blob(digest);
  }
  return false;
}

Result<UniqueFd> RegistryStore::open_blob(const std::string& repository, const std::string& digest) const {
  if (!has_blob(repository, digest)) return fail(ErrorKind::kNotFound, "blob unknown to registry");
  return images_.open_blob(digest);
}

Result<> RegistryStore::link_blob(const std::string& repository, const std::string& digest) {
  int64_t now = now_ns();
  TRY(images_.hold_blobs({digest}, holder(repository), ImageStore::Hold::kUntilReboot));
  TRY(database_.execute(
      "INSERT INTO registry_blobs(repository, digest, since_ns, was_named) VALUES(?1, ?2, ?3, 0) ON CONFLICT DO UPDATE "
      "SET since_ns=?3",
      {repository, digest, now}, db::Durability::kRelaxed));
  std::lock_guard lock(*mutex_);
  repositories_[repository].blobs[digest].since_ns = now;
  return {};
}

Result<> RegistryStore::adopt_blob(const std::string& repository, const std::string& digest, const std::string& path) {
  auto lease = images_.lease();
  auto adopted = images_.adopt_blob(digest, path);
  if (!adopted) {
    if (auto done = sys::remove_file(path); !done) log_warn("%s, ignoring", done.error().message.c_str());
    return adopted;
  }
  return link_blob(repository, digest);
}

Result<bool> RegistryStore::mount_blob(const std::string& from, const std::string& repository,
                                       const std::string& digest) {
  auto lease = images_.lease();
  if (!has_blob(from, digest)) return false;
  TRY(link_blob(repository, digest));
  return true;
}

Result<> RegistryStore::remove_blob(const std::string& repository, const std::string& digest) {
  {
    std::lock_guard lock(*mutex_);
    auto found = repositories_.find(repository);
    if (found == repositories_.end() || !found->second.blobs.contains(digest))
      return fail(ErrorKind::kNotFound, "blob unknown to registry");
    for (const auto& [name, manifest] : found->second.manifests)
      if (std::find(manifest.blobs.begin(), manifest.blobs.end(), digest) != manifest.blobs.end())
        return fail(ErrorKind::kConflict, "manifest %s needs the blob", name.c_str());
    found->second.blobs.erase(digest);
  }
  TRY(database_.execute("DELETE FROM registry_blobs WHERE repository=?1 AND digest=?2", {repository, digest}));
  TRY(images_.release_blob(digest, holder(repository)));
  images_.collect_garbage();
  return {};
}

Result<RegistryManifest> RegistryStore::find_manifest(const std::string& repository,
                                                      const std::string& reference) const {
  bool by_digest = digest::is_valid(reference);
  {
    std::lock_guard lock(*mutex_);
    if (auto found = repositories_.find(repository); found != repositories_.end()) {
      std::string digest = reference;
      if (!by_digest)
        if (auto tag = found->second.tags.find(reference); tag != found->second.tags.end()) digest = tag->second;
      if (auto manifest = found->second.manifests.find(digest); manifest != found->second.manifests.end())
        return manifest->second.about;
    }
  }
  auto describe = [&](const Image& image) -> Result<RegistryManifest> {
    auto fd = TRY(images_.open_blob(image.manifest_digest));
    auto text = TRY(sys::read_fd(fd.get(), kMaxRegistryManifest));
    auto document = TRY(json::decode<PushedDocument>(text));
    return RegistryManifest{
        .digest = image.manifest_digest,
        .media_type = document.media_type.empty() ? std::string(spec::kOciManifest) : document.media_type,
        .size = static_cast<int64_t>(text.size())};
  };
  if (by_digest) {
    for (const auto& image : local_images(repository))
      if (image.manifest_digest == reference) return describe(image);
  } else if (auto image = local_image(repository, reference)) {
    return describe(*image);
  }
  return fail(ErrorKind::kNotFound, "manifest unknown");
}

Result<std::string> RegistryStore::read_manifest(const RegistryManifest& manifest) const {
  auto fd = TRY(images_.open_blob(manifest.digest));
  return sys::read_fd(fd.get(), kMaxRegistryManifest);
}

Result<RegistryManifest> RegistryStore::put_manifest(const std::string& repository, const std::string& reference,
                                                     const std::string& media_type, const std::string& body) {
  if (body.size() > kMaxRegistryManifest)
    return fail(ErrorKind::kExhausted, "manifests of more than %zu bytes are not taken", kMaxRegistryManifest);
  PushedManifest parsed = TRY(parse_pushed(media_type, body));
  const std::string digest = parsed.about.digest;
  bool by_digest = digest::is_valid(reference);
  if (by_digest && reference != digest)
    return fail(ErrorKind::kCorrupt, "the manifest's digest is '%s'", digest.c_str());
  auto lease = images_.lease();
  for (const auto& blob : parsed.blobs) {
    if (!has_blob(repository, blob)) return fail(ErrorKind::kNotFound, "blob unknown to registry: %s", blob.c_str());
    bool is_linked;
    {
      std::lock_guard lock(*mutex_);
      is_linked = repositories_[repository].blobs.contains(blob);
    }
    if (!is_linked) TRY(link_blob(repository, blob));  // a local image's, which may be untagged later
  }
  StringSource source(body);
  TRY(images_.add_blob(digest, source));
  std::vector<std::string> all = parsed.blobs;
  all.push_back(digest);
  TRY(images_.hold_blobs(all, holder(repository), ImageStore::Hold::kLasting));
  TRY(database_.transaction([&]() -> Result<> {
    TRY(database_.execute(
        "INSERT OR REPLACE INTO registry_manifests(repository, digest, media_type, document) VALUES(?1, ?2, ?3, ?4)",
        {repository, digest, media_type, body}));
    if (!by_digest)
      TRY(database_.execute("INSERT OR REPLACE INTO registry_tags(repository, tag, digest) VALUES(?1, ?2, ?3)",
                            {repository, reference, digest}));
    for (const auto& blob : parsed.blobs)
      TRY(database_.execute("UPDATE registry_blobs SET was_named=1 WHERE repository=?1 AND digest=?2",
                            {repository, blob}));
    return {};
  }));
  std::lock_guard lock(*mutex_);
  auto& known = repositories_[repository];
  if (!by_digest) known.tags[reference] = digest;
  for (const auto& blob : parsed.blobs) known.blobs[blob].was_named = true;
  RegistryManifest about = parsed.about;
  known.manifests[digest] = {std::move(parsed.about), std::move(parsed.blobs), std::move(parsed.children)};
  return about;
}

Result<> RegistryStore::forget_manifest(const std::string& repository, const std::string& digest) {
  TRY(database_.transaction([&]() -> Result<> {
    TRY(database_.execute("DELETE FROM registry_tags WHERE repository=?1 AND digest=?2", {repository, digest}));
    return database_.execute("DELETE FROM registry_manifests WHERE repository=?1 AND digest=?2", {repository, digest});
  }));
  {
    std::lock_guard lock(*mutex_);
    auto& known = repositories_[repository];
    std::erase_if(known.tags, [&](const auto& entry) { return entry.second == digest; });
    known.manifests.erase(digest);
  }
  return images_.release_blob(digest, holder(repository));
}

Result<> RegistryStore::remove_manifest(const std::string& repository, const std::string& reference) {
  auto manifest = TRY(find_manifest(repository, reference));
  std::vector<std::string> names;  // of local images that go as well
  std::string prefix = local_name() + "/" + repository + ":";
  for (const auto& image : local_images(repository))
    for (const auto& tag : image.repo_tags)
      if (tag.starts_with(prefix) && (tag.substr(prefix.size()) == reference || image.manifest_digest == reference))
        names.push_back(tag);
  if (digest::is_valid(reference)) {
    TRY(forget_manifest(repository, reference));
  } else {
    TRY(database_.execute("DELETE FROM registry_tags WHERE repository=?1 AND tag=?2", {repository, reference}));
    std::lock_guard lock(*mutex_);
    repositories_[repository].tags.erase(reference);
  }
  for (const auto& name : names)
    if (auto untagged = remove_name_(name); !untagged) log_info("registry: %s", untagged.error().message.c_str());
  TRY(sweep(repository));
  images_.collect_garbage();
  return {};
}

// Lets go of blobs that a manifest has named and none does any more, and of those that none has named for long.
Result<int64_t> RegistryStore::sweep(const std::string& repository) {
  std::vector<std::string> doomed;
  {
    std::lock_guard lock(*mutex_);
    auto found = repositories_.find(repository);
    if (found == repositories_.end()) return 0;
    std::set<std::string> named;
    for (const auto& [digest, manifest] : found->second.manifests)
      named.insert(manifest.blobs.begin(), manifest.blobs.end());
    int64_t now = now_ns();
    for (auto it = found->second.blobs.begin(); it != found->second.blobs.end();) {
      bool goes = !named.contains(it->first) && (it->second.was_named || now - it->second.since_ns > kUnnamedNs);
      if (goes) doomed.push_back(it->first);
      it = goes ? found->second.blobs.erase(it) : std::next(it);
    }
    if (found->second.empty()) repositories_.erase(found);
  }
  for (const auto& digest : doomed) {
    TRY(database_.execute("DELETE FROM registry_blobs WHERE repository=?1 AND digest=?2", {repository, digest},
                          db::Durability::kRelaxed));
    TRY(images_.release_blob(digest, holder(repository)));
  }
  return static_cast<int64_t>(doomed.size());
}

Result<RegistryStore::Pruned> RegistryStore::prune(bool untagged) {
  Pruned out;
  std::vector<std::pair<std::string, std::string>> doomed;
  std::vector<std::string> names;
  {
    std::lock_guard lock(*mutex_);
    for (const auto& [name, repository] : repositories_) {
      names.push_back(name);
      if (!untagged) continue;
      // Kept are tagged ones, what they list, and what has one of these for its subject.
      std::set<std::string> kept;
      std::vector<std::string> open;
      for (const auto& [tag, digest] : repository.tags) open.push_back(digest);
      while (!open.empty()) {
        std::string digest = std::move(open.back());
        open.pop_back();
        auto found = repository.manifests.find(digest);
        if (found == repository.manifests.end() || !kept.insert(digest).second) continue;
        for (const auto& child : found->second.children) open.push_back(child);
        for (const auto& [other, manifest] : repository.manifests)
          if (manifest.about.subject == digest) open.push_back(other);
      }
      for (const auto& [digest, manifest] : repository.manifests)
        if (!kept.contains(digest)) doomed.emplace_back(name, digest);
    }
  }
  for (const auto& [name, digest] : doomed) TRY(forget_manifest(name, digest));
  out.manifests = static_cast<int64_t>(doomed.size());
  for (const auto& name : names) out.blobs += TRY(sweep(name));
  images_.collect_garbage();
  return out;
}

std::vector<RegistryManifest> RegistryStore::referrers(const std::string& repository, const std::string& digest) const {
  std::vector<RegistryManifest> out;
  std::lock_guard lock(*mutex_);
  auto found = repositories_.find(repository);
  if (found == repositories_.end()) return out;
  for (const auto& [name, manifest] : found->second.manifests)
    if (manifest.about.subject == digest) out.push_back(manifest.about);
  return out;
}

std::optional<std::string> RegistryStore::image_of(const RegistryManifest& manifest) const {
  auto text = read_manifest(manifest);
  if (!text) return std::nullopt;
  auto document = json::decode<PushedDocument>(*text);
  if (!document) return std::nullopt;
  if (spec::is_index_type(manifest.media_type)) {
    for (const auto& child : document->manifests)
      if (child.platform && child.platform->os == "linux" && child.platform->architecture == own_architecture() &&
          images_.has_blob(child.digest))
        return image_of({.digest = child.digest, .media_type = child.media_type});
    return std::nullopt;
  }
  if (!document->config || !document->artifact_type.empty() ||
      (document->config->media_type != spec::kOciConfig && document->config->media_type != spec::kDockerConfig))
    return std::nullopt;
  for (const auto& layer : document->layers)
    if (!is_image_layer(layer.media_type)) return std::nullopt;
  return manifest.digest;
}

}  // namespace caisson::image
