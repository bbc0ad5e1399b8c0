// SPDX-License-Identifier: Apache-2.0
// Of this engine, not Docker's: manifests and blobs of a registry one by one, for `manifest` and `artifact` of the
// client, which speaks to no registry itself.
#include <atomic>

#include "api/client_watch.h"
#include "api/registry_routes.h"
#include "base/log.h"
#include "base/text.h"
#include "image/fetch_parts.h"
#include "image/fetch_queries.h"

namespace caisson::api {

struct PartAnswer {
  std::string digest;
  int64_t size = 0;
};
CAISSON_JSON(PartAnswer, CAISSON_FIELD("Digest", digest), CAISSON_FIELD("Size", size))

namespace {

void get_manifest(Context& context, Call& call) {
  auto request = remote_request(call);
  if (!request) return;
  std::string code;
  auto found = image::fetch_remote_document(fetch_config(context), *request, code);
  if (!found) return call.reply_error(status_of_code(code, found.error()), found.error().message);
  http::Headers headers;
  headers.add("Content-Type", found->descriptor.media_type);
  headers.add("Docker-Content-Digest", found->descriptor.digest);
  call.exchange->reply(200, headers, std::move(found->document));
}

void put_manifest(Context& context, Call& call) {
  auto request = remote_request(call);
  if (!request) return;
  const std::string& body = call.request().body;
  std::string type(call.request().headers.find("Content-Type").value_or(""));
  if (!spec::is_manifest_type(type) && !spec::is_index_type(type))
    return call.reply_error(400, "'" + type.substr(0, 128) + "' is no media type of a manifest");
  if (body.empty() || body.size() > static_cast<size_t>(image::kMaxManifestBytes))
    return call.reply_error(400, "a manifest has 1 to 4194304 bytes");
  std::string code;
  auto digest = image::put_remote_document(fetch_config(context), *request, type, body, code);
  if (!digest) return call.reply_error(status_of_code(code, digest.error()), digest.error().message);
  call.reply_with(201, PartAnswer{*digest, static_cast<int64_t>(body.size())});
}

void get_referrers(Context& context, Call& call) {
  auto request = remote_request(call);
  if (!request) return;
  std::string code;
  auto found = image::find_referrers(fetch_config(context), *request, code);
  if (!found) return call.reply_error(status_of_code(code, found.error()), found.error().message);
  call.reply_json(200, std::move(*found));
}

// The blob that the query names; nullopt: an error was sent.
std::optional<image::BlobPart> asked_part(const Call& call) {
  bool good = true;
  auto size = call.number("size", good);
  if (!good) return std::nullopt;
  return image::BlobPart{call.query().get("digest"), size.value_or(-1)};
}

// The head of the answer goes out with the first byte: what fails before that has a status of its own.
class BlobAnswer final : public ByteSink {
 public:
  explicit BlobAnswer(http::TakenConnection& connection) : connection_(connection) {}
  Result<> write(std::string_view data) override {
    TRY(begin());
    return connection_.write(data);
  }
  Result<> finish() {
    TRY(begin());
    return connection_.finish();
  }
  bool begun() const { return begun_; }

 private:
  Result<> begin() {
    if (begun_) return {};
    begun_ = true;
    http::Headers headers;
    headers.add("Content-Type", "application/octet-stream");
    return connection_.begin_response(200, headers);
  }

  http::TakenConnection& connection_;
  bool begun_ = false;
};

void answer_json(http::TakenConnection& connection, int status, const std::string& body) {
  http::Headers headers;
  headers.add("Content-Type", "application/json");
  headers.add("Content-Length", std::to_string(body.size()));
  // The client may be gone by now; there is nobody to tell.
  if (connection.begin_response(status, headers) && connection.write(body)) [[maybe_unused]]
    auto done = connection.finish();
}

void get_blob(Context& context, Call& call) {
  auto request = remote_request(call);
  auto part = request ? asked_part(call) : std::nullopt;
  if (!part) return;
  std::atomic<bool> gone = false;
  request->cancel = &gone;
  auto connection = call.exchange->take_over();
  ClientWatch watch(connection->fd(), gone);
  BlobAnswer answer(*connection);
  std::string code;
  auto fetched = image::get_remote_blob(fetch_config(context), *request, *part, answer, code);
  if (fetched) fetched = answer.finish();
  if (fetched) return;
  // Without the closing chunk the client knows that the blob is not whole.
  log_info("blob %s: %s", part->digest.substr(0, 80).c_str(), fetched.error().message.c_str());
  if (!answer.begun())
    answer_json(*connection, status_of_code(code, fetched.error()), error_body(fetched.error().message));
}

void put_blob(Context& context, Call& call) {
  auto request = remote_request(call);
  if (!request) return;
  std::atomic<bool> gone = false;
  request->cancel = &gone;
  auto connection = call.exchange->take_over();
  ClientWatch watch(connection->fd(), gone);
  std::string code;
  auto part = image::put_remote_blob(fetch_config(context), *request, *connection, code);
  if (part) return answer_json(*connection, 201, json::encode(PartAnswer{part->digest, part->size}));
  answer_json(*connection, status_of_code(code, part.error()), error_body(part.error().message));
}

void adopt_blob(Context& context, Call& call) {
  auto request = remote_request(call);
  auto part = request ? asked_part(call) : std::nullopt;
  if (!part) return;
  std::string code, from = call.query().get("from");
  auto source = spec::parse_reference(request->reference.domain + "/" + from);
  if (!source || source->path != from) return call.reply_error(400, "'from' is no name of a repository");
  auto done = image::adopt_remote_blob(fetch_config(context), *request, from, *part, code);
  if (!done) return call.reply_error(status_of_code(code, done.error()), done.error().message);
  call.reply_with(201, PartAnswer{part->digest, part->size});
}

constexpr Route kRoutes[] = {
    {"GET", "/distribution/{*}/manifest", get_manifest},   {"PUT", "/distribution/{*}/manifest", put_manifest},
    {"GET", "/distribution/{*}/referrers", get_referrers}, {"GET", "/distribution/{*}/blob", get_blob},
    {"PUT", "/distribution/{*}/blob", put_blob, true},     {"POST", "/distribution/{*}/blob", adopt_blob},
};

}  // namespace

std::span<const Route> distribution_routes() { return kRoutes; }

}  // namespace caisson::api
