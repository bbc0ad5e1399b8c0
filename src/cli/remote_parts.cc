// SPDX-License-Identifier: Apache-2.0
#include "cli/remote_parts.h"

#include "cli/containers.h"
#include "cli/pull.h"

namespace caisson::cli {

namespace {

std::string path_of(const spec::Reference& reference, const char* what) {
  return "/distribution/" + name_path(reference.full()) + "/" + what;
}

constexpr size_t kCopyBuffer = 256 << 10;

}  // namespace

spec::Reference by_digest(const spec::Reference& reference, const std::string& digest) {
  spec::Reference out = reference;
  out.tag.clear();
  out.digest = digest;
  return out;
}

std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

http::Query RemoteParts::query() const {
  http::Query out;
  if (insecure_) out.add("insecure", "1");
  return out;
}

http::Headers RemoteParts::headers(const spec::Reference& reference) {
  auto known = auths_.find(reference.domain);
  if (known == auths_.end()) known = auths_.emplace(reference.domain, registry_auth(app_, reference.domain)).first;
  http::Headers out;
  if (!known->second.empty()) out.add("X-Registry-Auth", known->second);
  return out;
}

Result<RemoteDocument> RemoteParts::document(const spec::Reference& reference) {
  auto response = TRY(app_.engine().call("GET", path_of(reference, "manifest"), query(), {}, headers(reference)));
  JsonValue parsed = TRY_CTX(JsonValue::parse(response.body), "manifest");
  return RemoteDocument{reference.full(), std::move(response.body),
                        std::string(response.headers.find("Content-Type").value_or("")),
                        std::string(response.headers.find("Docker-Content-Digest").value_or("")), std::move(parsed)};
}

Result<JsonValue> RemoteParts::descriptor(const spec::Reference& reference) {
  auto response = TRY(app_.engine().call("GET", path_of(reference, "json"), query(), {}, headers(reference)));
  return JsonValue::parse(response.body);
}

Result<std::string> RemoteParts::digest(const spec::Reference& reference) {
  return TRY(descriptor(reference)).at("Descriptor", "digest").text();
}

Result<JsonValue> RemoteParts::platform(const spec::Reference& reference) {
  JsonValue answer = TRY(descriptor(reference));
  const auto& platforms = answer.at("Platforms").items();
  return platforms.empty() ? JsonValue::null() : platforms[0];
}

Result<std::string> RemoteParts::put_document(const spec::Reference& reference, const std::string& media_type,
                                              const std::string& text) {
  http::Headers all = headers(reference);
  all.set("Content-Type", media_type);
  auto stream = TRY(app_.engine().open(
      {.method = "PUT", .path = path_of(reference, "manifest"), .query = query(), .headers = all, .body = text}));
  std::string answer;
  char buffer[4096];
  while (size_t got = TRY(stream.client->read(buffer))) answer.append(buffer, got);
  return TRY(JsonValue::parse(answer)).at("Digest").text();
}

Result<> RemoteParts::adopt_blob(const spec::Reference& reference, const std::string& from, const RemoteBlob& blob) {
  http::Query asked = query();
  asked.add("from", from);
  asked.add("digest", blob.digest);
  asked.add("size", std::to_string(blob.size));
  TRY(app_.engine().call("POST", path_of(reference, "blob"), asked, {}, headers(reference)));
  return {};
}

Result<RemoteBlob> RemoteParts::put_blob(const spec::Reference& reference, ByteSource& body, int64_t size) {
  http::Headers all = headers(reference);
  all.set("Content-Type", "application/octet-stream");
  auto stream = TRY(app_.engine().open({.method = "PUT",
                                        .path = path_of(reference, "blob"),
                                        .query = query(),
                                        .headers = all,
                                        .body = {},
                                        .body_stream = &body,
                                        .body_size = size}));
  std::string answer;
  char buffer[4096];
  while (size_t got = TRY(stream.client->read(buffer))) answer.append(buffer, got);
  JsonValue part = TRY(JsonValue::parse(answer));
  return RemoteBlob{part.at("Digest").text(), part.at("Size").as_int()};
}

Result<> RemoteParts::get_blob(const spec::Reference& reference, const RemoteBlob& blob, ByteSink& out) {
  http::Query asked = query();
  asked.add("digest", blob.digest);
  asked.add("size", std::to_string(blob.size));
  auto stream =
      TRY(app_.engine().open({.path = path_of(reference, "blob"), .query = asked, .headers = headers(reference)}));
  std::string buffer(kCopyBuffer, '\0');
  while (size_t got = TRY(stream.client->read(buffer))) TRY(out.write(std::string_view(buffer).substr(0, got)));
  return {};
}

Result<JsonValue> RemoteParts::referrers(const spec::Reference& reference, const std::string& digest) {
  spec::Reference subject = by_digest(reference, digest);
  auto response = TRY(app_.engine().call("GET", path_of(subject, "referrers"), query(), {}, headers(reference)));
  return TRY(JsonValue::parse(response.body)).at("manifests");
}

}  // namespace caisson::cli
