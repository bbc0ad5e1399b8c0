// SPDX-License-Identifier: Apache-2.0
#include "api/registry_server.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "api/registry_images.h"
#include "api/registry_paths.h"
#include "base/log.h"
#include "base/text.h"
#include "spec/oci_image.h"
#include "spec/reference.h"
#include "sys/files.h"
#include "wire/base64.h"
#include "wire/digest.h"

namespace caisson::api {

namespace {

constexpr size_t kMaxPage = 10000;
constexpr int kIdleSeconds = 60;  // a body that stands still

struct Server {
  engine::Engine& engine;
  image::RegistryStore& store;
  const RegistryAccess access;
};

std::string error_document(std::string_view code, std::string_view message) {
  return "{\"errors\":[{\"code\":" + json::quote(code) + ",\"message\":" + json::quote(message) + "}]}\n";
}

http::Headers plain_headers(std::string_view type = "application/json") {
  http::Headers headers;
  headers.add("Content-Type", std::string(type));
  headers.add("X-Content-Type-Options", "nosniff");
  return headers;
}

// One request under way: the answer goes through the connection where it was taken over for its body.
struct Talk {
  Server& server;
  std::shared_ptr<http::Exchange> exchange;
  RegistryPath path;
  std::unique_ptr<http::TakenConnection> connection;

  http::Request& request() { return exchange->request(); }
  std::string location(const std::string& tail) const { return "/v2/" + path.name + tail; }

  http::TakenConnection& take() {
    if (connection) return *connection;
    connection = exchange->take_over();
    timeval limit{.tv_sec = kIdleSeconds, .tv_usec = 0};
    for (int which : {SO_RCVTIMEO, SO_SNDTIMEO})
      if (setsockopt(connection->fd(), SOL_SOCKET, which, &limit, sizeof limit) < 0)
        log_debug("registry: setsockopt: %s, ignoring", errno_text(errno).c_str());
    return *connection;
  }
  void answer(int status, http::Headers headers, std::string body = "") {
    if (!connection) return exchange->reply(status, headers, std::move(body));
    headers.set("Content-Length", std::to_string(body.size()));
    // A client that has gone away has nobody left to tell.
    if (connection->begin_response(status, headers) && connection->write(body)) (void)connection->finish();
  }
  void refuse(int status, std::string_view code, std::string_view message) {
    answer(status, plain_headers(), error_document(code, message));
  }
  void refuse(const Error& error, std::string_view unknown_code, std::string_view invalid_code) {
    switch (error.kind) {
      case ErrorKind::kNotFound: return refuse(404, unknown_code, error.message);
      case ErrorKind::kInvalid: return refuse(400, invalid_code, error.message);
      case ErrorKind::kCorrupt: return refuse(400, "DIGEST_INVALID", error.message);
      case ErrorKind::kConflict: return refuse(409, "DENIED", error.message);
      case ErrorKind::kExhausted:
        return refuse(error.err == ENOSPC || error.err == EDQUOT ? 507 : 413, "SIZE_INVALID", error.message);
      case ErrorKind::kCancelled: return;  // the client has gone
      default:
        log_warn("registry: %s", error.message.c_str());
        return refuse(500, "UNKNOWN", "the registry could not do it");
    }
  }
};

// --- pages -------------------------------------------------------------------------------------------

// Cuts a sorted list to the page that n and last ask for; the Link header for the next one. False: a bad n.
bool cut_page(Talk& talk, std::vector<std::string>& list, http::Headers& headers) {
  size_t wanted = kMaxPage;
  const auto& query = talk.request().query;
  if (auto text = query.find("n")) {
    auto number = parse_uint(*text);
    if (!number) return false;
    wanted = std::min<uint64_t>(*number, kMaxPage);
  }
  if (auto last = query.find("last"))
    list.erase(list.begin(), std::upper_bound(list.begin(), list.end(), std::string(*last)));
  if (list.size() <= wanted) return true;
  list.resize(wanted);
  if (wanted == 0) return true;
  http::Query next;
  next.add("n", std::to_string(wanted));
  next.add("last", list.back());
  headers.add("Link", "<" + talk.request().path + "?" + next.encode() + ">; rel=\"next\"");
  return true;
}

void catalog(Talk& talk) {
  auto names = talk.server.store.repositories();
  auto headers = plain_headers();
  if (!cut_page(talk, names, headers)) return talk.refuse(400, "PAGINATION_NUMBER_INVALID", "n is no number");
  talk.answer(200, headers, "{\"repositories\":" + json::encode(names) + "}\n");
}

void tag_list(Talk& talk) {
  if (!talk.server.store.has_repository(talk.path.name))
    return talk.refuse(404, "NAME_UNKNOWN", "repository name not known to registry");
  auto tags = talk.server.store.tags(talk.path.name);
  auto headers = plain_headers();
  if (!cut_page(talk, tags, headers)) return talk.refuse(400, "PAGINATION_NUMBER_INVALID", "n is no number");
  talk.answer(200, headers, "{\"name\":" + json::quote(talk.path.name) + ",\"tags\":" + json::encode(tags) + "}\n");
}

// --- manifests ---------------------------------------------------------------------------------------

// Clients that say what they take and do not name this type would misread it.
bool is_accepted(const http::Request& request, const std::string& media_type) {
  bool any = false;
  for (const auto& [name, value] : request.headers.list()) {
    if (!equals_ignore_case(name, "Accept")) continue;
    for (const auto& part : split(value, ',')) {
      std::string_view type = trim(std::string_view(part).substr(0, part.find(';')));
      if (type.empty()) continue;
      any = true;
      if (type == "*/*" || type == "application/*" || type == media_type || type == "application/json") return true;
    }
  }
  return !any;
}

bool is_reference(const std::string& text) { return digest::is_valid(text) || spec::is_valid_tag(text); }

void get_manifest(Talk& talk) {
  if (!is_reference(talk.path.reference)) return talk.refuse(404, "MANIFEST_UNKNOWN", "no tag and no digest");
  auto manifest = talk.server.store.find_manifest(talk.path.name, talk.path.reference);
  if (!manifest) return talk.refuse(manifest.error(), "MANIFEST_UNKNOWN", "MANIFEST_INVALID");
  if (!is_accepted(talk.request(), manifest->media_type))
    return talk.refuse(404, "MANIFEST_UNKNOWN",
                       "the manifest is of type " + manifest->media_type + ", which the Accept header does not have");
  auto headers = plain_headers(manifest->media_type);
  headers.add("Docker-Content-Digest", manifest->digest);
  headers.add("ETag", "\"" + manifest->digest + "\"");
  if (talk.request().headers.find("If-None-Match") == "\"" + manifest->digest + "\"") return talk.answer(304, headers);
  auto text = talk.server.store.read_manifest(*manifest);
  if (!text) return talk.refuse(text.error(), "MANIFEST_UNKNOWN", "MANIFEST_INVALID");
  talk.answer(200, headers, std::move(*text));
}

void put_manifest(Talk& talk) {
  if (!is_reference(talk.path.reference)) return talk.refuse(400, "TAG_INVALID", "no tag and no digest");
  std::string type(talk.request().headers.find("Content-Type").value_or(""));
  type = trim(std::string_view(type).substr(0, type.find(';')));
  auto made = talk.server.store.put_manifest(talk.path.name, talk.path.reference, type, talk.request().body);
  if (!made) return talk.refuse(made.error(), "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID");
  if (!digest::is_valid(talk.path.reference))
    make_registry_image(talk.server.engine, talk.server.store, talk.path.name, talk.path.reference, *made);
  auto headers = plain_headers();
  headers.add("Location", talk.location("/manifests/" + made->digest));
  headers.add("Docker-Content-Digest", made->digest);
  if (!made->subject.empty()) headers.add("OCI-Subject", made->subject);
  talk.answer(201, headers);
}

void delete_manifest(Talk& talk) {
  if (!is_reference(talk.path.reference)) return talk.refuse(400, "TAG_INVALID", "no tag and no digest");
  auto removed = talk.server.store.remove_manifest(talk.path.name, talk.path.reference);
  if (!removed) return talk.refuse(removed.error(), "MANIFEST_UNKNOWN", "MANIFEST_INVALID");
  talk.answer(202, plain_headers());
}

// --- blobs -------------------------------------------------------------------------------------------

void get_blob(Talk& talk) {
  const std::string& digest = talk.path.reference;
  if (!digest::is_valid(digest)) return talk.refuse(400, "DIGEST_INVALID", "not a sha256 digest");
  auto fd = talk.server.store.open_blob(talk.path.name, digest);
  if (!fd) return talk.refuse(fd.error(), "BLOB_UNKNOWN", "BLOB_UNKNOWN");
  struct stat st {};
  if (fstat(fd->get(), &st) < 0) return talk.refuse(500, "UNKNOWN", "the blob cannot be read");
  auto headers = plain_headers("application/octet-stream");
  headers.add("Docker-Content-Digest", digest);
  headers.add("ETag", "\"" + digest + "\"");
  headers.add("Accept-Ranges", "bytes");
  headers.add("Cache-Control", "max-age=31536000");
  if (talk.request().headers.find("If-None-Match") == "\"" + digest + "\"") return talk.answer(304, headers);
  ByteRange part{0, st.st_size};
  int status = 200;
  if (auto header = talk.request().headers.find("Range")) {
    bool is_valid = true;
    auto range = parse_byte_range(*header, st.st_size, is_valid);
    if (!is_valid) {
      headers.add("Content-Range", format("bytes */%lld", static_cast<long long>(st.st_size)));
      headers.set("Content-Type", "application/json");
      return talk.answer(416, headers, error_document("BLOB_UNKNOWN", "the range lies behind the blob's end"));
    }
    if (range) {
      part = *range;
      status = 206;
      headers.add("Content-Range",
                  format("bytes %lld-%lld/%lld", static_cast<long long>(part.first),
                         static_cast<long long>(part.first + part.length - 1), static_cast<long long>(st.st_size)));
    }
  }
  headers.set("Content-Length", std::to_string(part.length));
  auto& connection = talk.take();
  if (!connection.begin_response(status, headers) || talk.request().method == "HEAD") return;
  if (lseek(fd->get(), part.first, SEEK_SET) < 0) return;
  std::vector<char> buffer(256 << 10);
  while (part.length > 0) {
    auto got = sys::FdSource(fd->get()).read(
        std::span(buffer).first(std::min<size_t>(buffer.size(), static_cast<size_t>(part.length))));
    if (!got || *got == 0 || !connection.write({buffer.data(), *got})) return;
    part.length -= static_cast<int64_t>(*got);
  }
  (void)connection.finish();
}

void delete_blob(Talk& talk) {
  if (!digest::is_valid(talk.path.reference)) return talk.refuse(400, "DIGEST_INVALID", "not a sha256 digest");
  auto removed = talk.server.store.remove_blob(talk.path.name, talk.path.reference);
  if (!removed) return talk.refuse(removed.error(), "BLOB_UNKNOWN", "BLOB_UNKNOWN");
  talk.answer(202, plain_headers());
}

// --- uploads -----------------------------------------------------------------------------------------

http::Headers upload_headers(Talk& talk, const std::string& id, int64_t size) {
  auto headers = plain_headers();
  headers.add("Location", talk.location("/blobs/uploads/" + id));
  headers.add("Range", format("0-%lld", static_cast<long long>(std::max<int64_t>(size - 1, 0))));
  headers.add("Docker-Upload-UUID", id);
  return headers;
}

void blob_created(Talk& talk, const std::string& digest) {
  auto headers = plain_headers();
  headers.add("Location", talk.location("/blobs/" + digest));
  headers.add("Docker-Content-Digest", digest);
  talk.answer(201, headers);
}

// The body goes to the end of the upload; false: the answer was sent.
bool append_body(Talk& talk, const std::string& id) {
  std::optional<int64_t> offset;
  std::optional<ByteRange> range;
  if (auto header = talk.request().headers.find("Content-Range")) {
    range = parse_content_range(*header);
    if (!range) return talk.refuse(416, "BLOB_UPLOAD_INVALID", "the Content-Range cannot be read"), false;
    offset = range->first;
  }
  auto size = talk.server.store.uploads().append(talk.path.name, id, offset, talk.take());
  if (size && range && *size != range->first + range->length) {
    talk.refuse(400, "SIZE_INVALID", "the chunk has another length than its Content-Range");
    return false;
  }
  if (size) return true;
  if (size.error().kind == ErrorKind::kExists) {
    auto now = talk.server.store.uploads().size(talk.path.name, id);
    talk.answer(416, upload_headers(talk, id, now.value_or(0)),
                error_document("BLOB_UPLOAD_INVALID", size.error().message));
    return false;
  }
  talk.refuse(size.error(), "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID");
  return false;
}

void finish_upload(Talk& talk, const std::string& id, const std::string& digest) {
  auto path = talk.server.store.uploads().finish(talk.path.name, id, digest);
  if (!path) return talk.refuse(path.error(), "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID");
  auto adopted = talk.server.store.adopt_blob(talk.path.name, digest, *path);
  if (!adopted) return talk.refuse(adopted.error(), "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID");
  blob_created(talk, digest);
}

// POST: a mount, a whole blob at once, or the begin of an upload.
void begin_upload(Talk& talk) {
  const auto& query = talk.request().query;
  if (auto mount = query.find("mount")) {
    std::string digest(*mount), from = query.get("from");
    if (!digest::is_valid(digest)) return talk.refuse(400, "DIGEST_INVALID", "not a sha256 digest");
    if (is_repository_name(from)) {
      auto mounted = talk.server.store.mount_blob(from, talk.path.name, digest);
      if (!mounted) return talk.refuse(mounted.error(), "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID");
      if (*mounted) return blob_created(talk, digest);
    }
  }
  auto digest = query.find("digest");
  if (digest && !digest::is_valid(*digest)) return talk.refuse(400, "DIGEST_INVALID", "not a sha256 digest");
  auto id = talk.server.store.uploads().begin(talk.path.name);
  if (!id && id.error().kind == ErrorKind::kExhausted && id.error().err == 0)
    return talk.refuse(429, "TOOMANYREQUESTS", id.error().message);
  if (!id) return talk.refuse(id.error(), "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID");
  if (!digest) return talk.answer(202, upload_headers(talk, *id, 0));
  if (append_body(talk, *id)) return finish_upload(talk, *id, std::string(*digest));
  if (auto cancelled = talk.server.store.uploads().cancel(talk.path.name, *id); !cancelled)
    log_debug("registry: %s, ignoring", cancelled.error().message.c_str());
}

void get_upload(Talk& talk) {
  auto size = talk.server.store.uploads().size(talk.path.name, talk.path.reference);
  if (!size) return talk.refuse(size.error(), "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID");
  talk.answer(204, upload_headers(talk, talk.path.reference, *size));
}

void patch_upload(Talk& talk) {
  if (!append_body(talk, talk.path.reference)) return;
  auto size = talk.server.store.uploads().size(talk.path.name, talk.path.reference);
  if (!size) return talk.refuse(size.error(), "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID");
  talk.answer(202, upload_headers(talk, talk.path.reference, *size));
}

void put_upload(Talk& talk) {
  std::string digest = talk.request().query.get("digest");
  if (!digest::is_valid(digest)) return talk.refuse(400, "DIGEST_INVALID", "not a sha256 digest");
  if (append_body(talk, talk.path.reference)) finish_upload(talk, talk.path.reference, digest);
}

void delete_upload(Talk& talk) {
  auto done = talk.server.store.uploads().cancel(talk.path.name, talk.path.reference);
  if (!done) return talk.refuse(done.error(), "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID");
  talk.answer(204, plain_headers());
}

// --- referrers ---------------------------------------------------------------------------------------

struct Referrer {
  std::string media_type, digest;
  int64_t size = 0;
  std::string artifact_type;
  std::map<std::string, std::string> annotations;
};
CAISSON_JSON(Referrer, CAISSON_FIELD("mediaType", media_type), CAISSON_FIELD("digest", digest),
             CAISSON_FIELD("size", size), CAISSON_FIELD_OMIT("artifactType", artifact_type),
             CAISSON_FIELD_OMIT("annotations", annotations))

void referrers(Talk& talk) {
  const std::string& digest = talk.path.reference;
  if (!digest::is_valid(digest)) return talk.refuse(400, "DIGEST_INVALID", "not a sha256 digest");
  std::map<std::string, Referrer> found;
  for (auto& entry : talk.server.store.referrers(talk.path.name, digest))
    found[entry.digest] = {entry.media_type, entry.digest, entry.size, entry.artifact_type, entry.annotations};
  // What clients wrote down that knew of no such list: an index under a tag made of the digest.
  std::string tag = "sha256-" + std::string(digest::hex_of(digest));
  if (auto index = talk.server.store.find_manifest(talk.path.name, tag);
      index && spec::is_index_type(index->media_type))
    if (auto text = talk.server.store.read_manifest(*index))
      if (auto list = json::decode<spec::Index>(*text))
        for (auto& entry : list->manifests)
          found.try_emplace(entry.digest, Referrer{entry.media_type, entry.digest, entry.size, entry.artifact_type,
                                                   entry.annotations});
  auto headers = plain_headers(spec::kOciIndex);
  std::vector<Referrer> out;
  auto wanted = talk.request().query.find("artifactType");
  if (wanted) headers.add("OCI-Filters-Applied", "artifactType");
  for (auto& [name, entry] : found)
    if (!wanted || entry.artifact_type == *wanted) out.push_back(std::move(entry));
  talk.answer(200, headers,
              "{\"schemaVersion\":2,\"mediaType\":" + json::quote(spec::kOciIndex) +
                  ",\"manifests\":" + json::encode(out) + "}\n");
}

// --- the table ---------------------------------------------------------------------------------------

using Kind = RegistryPath::Kind;
struct Entry {
  Kind kind;
  const char* method;
  void (*handler)(Talk&);
  bool stream_body = false;
};
constexpr Entry kTable[] = {
    {Kind::kBase, "GET", [](Talk& talk) { talk.answer(200, plain_headers(), "{}\n"); }},
    {Kind::kCatalog, "GET", catalog},
    {Kind::kTags, "GET", tag_list},
    {Kind::kManifest, "GET", get_manifest},
    {Kind::kManifest, "PUT", put_manifest},
    {Kind::kManifest, "DELETE", delete_manifest},
    {Kind::kBlob, "GET", get_blob},
    {Kind::kBlob, "DELETE", delete_blob},
    {Kind::kUploads, "POST", begin_upload, true},
    {Kind::kUpload, "GET", get_upload},
    {Kind::kUpload, "PATCH", patch_upload, true},
    {Kind::kUpload, "PUT", put_upload, true},
    {Kind::kUpload, "DELETE", delete_upload},
    {Kind::kReferrers, "GET", referrers},
};

bool is_allowed(const Server& server, const http::Request& request) {
  if (!server.access.check) return true;
  auto header = request.headers.find("Authorization");
  if (!header || header->size() > 4096 || !equals_ignore_case(header->substr(0, 6), "basic ")) return false;
  auto decoded = base64_decode_url(trim(header->substr(6)));
  auto pair = decoded ? split_once(*decoded, ':') : std::nullopt;
  return pair && server.access.check(pair->first, pair->second);
}

}  // namespace

http::Router make_registry_router(engine::Engine& engine, image::RegistryStore& store, RegistryAccess access) {
  auto server = std::make_shared<Server>(engine, store, std::move(access));
  return [server](const http::Request& head) -> http::RouteDecision {
    RegistryPath path = parse_registry_path(head.path);
    std::string method = head.method == "HEAD" ? "GET" : head.method;
    bool needs_name = path.kind != Kind::kBase && path.kind != Kind::kCatalog;
    const Entry* found = nullptr;
    for (const Entry& entry : kTable)
      if (entry.kind == path.kind && entry.method == method) found = &entry;
    bool is_known = path.kind != Kind::kNone, is_named = !needs_name || is_repository_name(path.name);
    bool is_refused = server->access.read_only && method != "GET";
    http::RouteDecision out;
    out.stream_body = found && found->stream_body;
    out.handler = [server, path, found, is_known, is_named, is_refused](std::shared_ptr<http::Exchange> exchange) {
      Talk talk{*server, std::move(exchange), path, nullptr};
      // Passwords cost time, so they are checked on a worker, before anything else is told.
      if (!is_allowed(*server, talk.request())) {
        auto headers = plain_headers();
        headers.add("WWW-Authenticate", "Basic realm=\"caisson registry\"");
        return talk.answer(401, headers, error_document("UNAUTHORIZED", "authentication required"));
      }
      if (!is_known) return talk.refuse(404, "UNSUPPORTED", "no such path");
      if (!is_named) return talk.refuse(400, "NAME_INVALID", "invalid repository name");
      if (is_refused) return talk.refuse(403, "DENIED", "this registry is for reading only");
      if (!found) return talk.refuse(405, "UNSUPPORTED", "the operation is unsupported");
      found->handler(talk);
    };
    return out;
  };
}

}  // namespace caisson::api
