// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_transfer.h"

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "image/fetch_exchange.h"
#include "image/fetch_protocol.h"
#include "spec/oci_image.h"
#include "wire/digest.h"

namespace caisson::image {

struct TagPage {
  std::vector<std::string> tags;
};
CAISSON_JSON(TagPage, CAISSON_FIELD("tags", tags))

namespace {

constexpr size_t kMaxTagList = 8 << 20;
constexpr size_t kMaxSearchAnswer = 2 << 20;
constexpr size_t kMaxTags = 10'000;
constexpr size_t kMaxReferrers = 10'000;
constexpr int kMaxTagPages = 1000;
constexpr int64_t kWorthwhile = 64 << 10;    // so many new bytes make a new start of a blob count as progress
constexpr int64_t kMinBytesPerSecond = 128;  // below that a blob is not arriving
constexpr int64_t kNsPerSecond = 1'000'000'000;

// "bytes 500-999/1000" must begin where we asked.
bool continues_at(const registry::RegistryResponse& response, int64_t offset) {
  auto range = response.headers.find("Content-Range");
  return range && range->starts_with("bytes " + std::to_string(offset) + "-");
}

Result<> skip_bytes(ByteSource& source, int64_t count) {
  std::string buffer(64 << 10, '\0');
  while (count > 0) {
    size_t size =
        TRY(source.read(std::span(buffer.data(), std::min<size_t>(buffer.size(), static_cast<size_t>(count)))));
    if (size == 0) return fail(ErrorKind::kUnavailable, "unexpected EOF");
    count -= static_cast<int64_t>(size);
  }
  return {};
}

// Target of `<...>; rel="next"`, "" without one.
std::string next_page(const registry::RegistryResponse& response) {
  std::string link = header_or_empty(response, "Link");
  size_t open = link.find('<'), close = link.find('>');
  if (open == std::string::npos || close == std::string::npos || close < open) return "";
  std::string rest = link.substr(close);
  if (!rest.contains("rel=\"next\"") && !rest.contains("rel=next")) return "";
  auto url = registry::resolve_location(response.url, link.substr(open + 1, close - open - 1));
  return url && url->same_origin(response.url) ? url->text() : "";
}

}  // namespace

TransferResult<> check_login(registry::RegistryClient& client) {
  registry::RegistryRequest request;
  request.target = "/v2/";
  auto response = client.send(request);
  if (!response) return failed(std::move(response).error());
  int status = (*response)->status;
  if (status == 200) return {};
  ErrorKind kind = status == 401 || status == 403 ? ErrorKind::kDenied : ErrorKind::kUnavailable;
  return failed(Error{kind, 0,
                      format("login attempt to %s failed with status: %d %s", (*response)->url.text().c_str(), status,
                             http::status_text(status))});
}

TransferResult<ManifestAnswer> get_manifest(registry::RegistryClient& client, const std::string& repository,
                                            const std::string& reference, bool head_only, RetryPolicy policy) {
  registry::RegistryRequest request;
  request.method = head_only ? "HEAD" : "GET";
  request.target = "/v2/" + repository + "/manifests/" + reference;
  for (auto type : {spec::kOciIndex, spec::kOciManifest, spec::kDockerManifestList, spec::kDockerManifest})
    request.headers.add("Accept", std::string(type));
  auto response = send_patiently(client, request, policy);
  if (!response) return failed(std::move(response).error());
  if ((*response)->status != 200) return failed_response(**response);
  ManifestAnswer out;
  out.media_type = header_or_empty(**response, "Content-Type");
  out.media_type = std::string(trim(std::string_view(out.media_type).substr(0, out.media_type.find(';'))));
  out.digest = header_or_empty(**response, "Docker-Content-Digest");
  if (!digest::is_valid(out.digest)) out.digest.clear();
  auto body = (*response)->read_all(kMaxManifestBytes);
  if (!body && body.error().kind == ErrorKind::kExhausted)
    return failed(Error{ErrorKind::kInvalid, 0,
                        format("manifest of %s is larger than %lld bytes", quoted(repository).c_str(),
                               static_cast<long long>(kMaxManifestBytes))});
  if (!body) return failed(std::move(body).error());
  out.body = std::move(*body);
  return out;
}

TransferResult<std::string> get_tags(registry::RegistryClient& client, const std::string& repository,
                                     RetryPolicy policy) {
  TagPage all;
  registry::RegistryRequest request;
  request.target = "/v2/" + repository + "/tags/list";
  for (int pages = 0; !request.target.empty(); ++pages) {
    auto response = send_patiently(client, request, policy);
    if (!response) return failed(std::move(response).error());
    if ((*response)->status != 200) return failed_response(**response);
    auto body = (*response)->read_all(kMaxTagList);
    if (!body) return failed(std::move(body).error());
    auto page = json::decode<TagPage>(*body);
    if (!page) return failed(with_context(std::move(page).error(), "list of tags").error());
    std::move(page->tags.begin(), page->tags.end(), std::back_inserter(all.tags));
    if (all.tags.size() > kMaxTags || pages == kMaxTagPages)
      return failed(Error{ErrorKind::kInvalid, 0, format("repository has more than %zu tags", kMaxTags)});
    request.target = next_page(**response);
  }
  return json::encode(all);
}

TransferResult<std::string> get_referrers(registry::RegistryClient& client, const std::string& repository,
                                          const std::string& digest, RetryPolicy policy) {
  spec::Index all;
  all.media_type = spec::kOciIndex;
  registry::RegistryRequest request;
  request.target = "/v2/" + repository + "/referrers/" + digest;
  request.headers.add("Accept", std::string(spec::kOciIndex));
  for (int pages = 0; !request.target.empty(); ++pages) {
    auto response = send_patiently(client, request, policy);
    if (!response) return failed(std::move(response).error());
    if ((*response)->status == 404 && pages == 0) {
      (void)(*response)->read_all(kMaxErrorBody);
      auto tagged = get_manifest(client, repository, "sha256-" + std::string(digest::hex_of(digest)), false, policy);
      if (tagged) return std::move(tagged->body);
      if (tagged.error().error.kind != ErrorKind::kNotFound) return std::unexpected(std::move(tagged).error());
      break;
    }
    if ((*response)->status != 200) return failed_response(**response);
    auto body = (*response)->read_all(kMaxManifestBytes);
    if (!body) return failed(std::move(body).error());
    auto page = json::decode<spec::Index>(*body);
    if (!page) return failed(with_context(std::move(page).error(), "list of referrers").error());
    std::move(page->manifests.begin(), page->manifests.end(), std::back_inserter(all.manifests));
    if (all.manifests.size() > kMaxReferrers || pages == kMaxTagPages)
      return failed(Error{ErrorKind::kInvalid, 0, format("manifest has more than %zu referrers", kMaxReferrers)});
    request.target = next_page(**response);
  }
  return json::encode(all);
}

TransferResult<std::string> get_search(registry::RegistryClient& client, const std::string& target,
                                       RetryPolicy policy) {
  registry::RegistryRequest request;
  request.target = target;
  auto response = send_patiently(client, request, policy);
  if (!response) return failed(std::move(response).error());
  if ((*response)->status != 200) {
    auto error = failed_response(**response);
    if (error.error().code.empty())
      return failed(Error{ErrorKind::kUnavailable, 0, format("Unexpected status code %d", (*response)->status)});
    return error;
  }
  auto body = (*response)->read_all(kMaxSearchAnswer);
  if (!body) return failed(std::move(body).error());
  return std::move(*body);
}

BlobSource::BlobSource(registry::RegistryClient& client, const std::string& repository, const std::string& digest,
                       int64_t size, RetryPolicy policy, int64_t offset)
    : client_(client),
      target_("/v2/" + repository + "/blobs/" + digest),
      digest_(digest),
      size_(size),
      offset_(offset),
      policy_(policy) {}

Result<> BlobSource::connect() {
  registry::RegistryRequest request;
  request.target = target_;
  if (offset_ > 0) request.headers.set("Range", "bytes=" + std::to_string(offset_) + "-");
  auto response = TRY(client_.send(request));
  if (response->status == 206 && offset_ > 0) {
    if (!continues_at(*response, offset_))
      return fail(ErrorKind::kUnavailable, "blob %s: answer to another range", digest_.c_str());
  } else if (response->status == 200) {
    TRY(skip_bytes(*response, offset_));
  } else {
    auto body = response->read_all(kMaxErrorBody);
    auto failure = registry::failure_of_response(response->status, body ? *body : "", &response->headers);
    code_ = failure.code;
    wait_s_ = asked_wait(*response);
    if (wait_s_ > policy_.max_wait_s) failure.error.kind = ErrorKind::kExhausted;
    return std::unexpected(std::move(failure.error));
  }
  response_ = std::move(response);
  return {};
}

Result<> BlobSource::check_rate() {
  int64_t now = monotonic_ns();
  if (window_start_ns_ == 0) window_start_ns_ = now;
  int64_t passed_s = (now - window_start_ns_) / kNsPerSecond, came = offset_ - window_offset_;
  if (passed_s < policy_.window_s) return {};
  window_start_ns_ = now;
  window_offset_ = offset_;
  if (came >= passed_s * kMinBytesPerSecond) return {};
  return fail(ErrorKind::kTimeout, "blob %s: only %lld bytes in %lld s", digest_.c_str(), static_cast<long long>(came),
              static_cast<long long>(passed_s));
}

Result<size_t> BlobSource::read(std::span<char> buffer) {
  while (true) {
    if (offset_ == size_ && !response_ && size_ > 0) return size_t{0};
    Result<size_t> got = size_t{0};
    if (!response_)
      if (auto connected = connect(); !connected) got = std::unexpected(std::move(connected).error());
    if (got) got = response_->read(buffer);
    if (got && *got == 0) {
      response_.reset();
      if (offset_ == size_) return size_t{0};
      got = fail(ErrorKind::kUnavailable, "blob %s: unexpected EOF after %lld of %lld bytes", digest_.c_str(),
                 static_cast<long long>(offset_), static_cast<long long>(size_));
    }
    if (got) {
      offset_ += static_cast<int64_t>(*got);
      if (offset_ > size_)
        return fail(ErrorKind::kInvalid, "blob %s is larger than the %lld bytes of its descriptor", digest_.c_str(),
                    static_cast<long long>(size_));
      // A registry that gives a few bytes per connection would otherwise keep us for ever.
      if (offset_ - failed_at_ >= kWorthwhile) failures_ = 0;
      auto fast_enough = check_rate();
      if (fast_enough) return got;
      offset_ -= static_cast<int64_t>(*got);
      got = std::unexpected(std::move(fast_enough).error());
    }
    response_.reset();
    if (!worth_retrying(got.error()) || ++failures_ >= policy_.tries) return got;
    failed_at_ = offset_;
    sleep_before_try(policy_, failures_, std::exchange(wait_s_, std::nullopt));
    window_start_ns_ = 0;
    window_offset_ = offset_;
  }
}

TransferResult<int64_t> find_blob(registry::RegistryClient& client, const std::string& repository,
                                  const std::string& digest, RetryPolicy policy) {
  registry::RegistryRequest request;
  request.method = "HEAD";
  request.target = "/v2/" + repository + "/blobs/" + digest;
  auto response = send_patiently(client, request, policy);
  if (!response) return failed(std::move(response).error());
  int status = (*response)->status;
  if (status == 404) return int64_t{-1};
  if (status != 200) return failed_response(**response);
  auto size = parse_int(header_or_empty(**response, "Content-Length"));
  return size ? *size : int64_t{0};
}

TransferResult<std::string> put_manifest(registry::RegistryClient& client, const std::string& repository,
                                         const std::string& reference, const std::string& media_type, std::string body,
                                         RetryPolicy policy) {
  registry::RegistryRequest request;
  request.method = "PUT";
  request.target = "/v2/" + repository + "/manifests/" + reference;
  request.headers.set("Content-Type", media_type);
  request.body = std::move(body);
  auto response = send_patiently(client, request, policy);
  if (!response) return failed(std::move(response).error());
  if ((*response)->status != 201 && (*response)->status != 200) return failed_response(**response);
  (void)(*response)->read_all(kMaxErrorBody);
  std::string digest = header_or_empty(**response, "Docker-Content-Digest");
  return digest::is_valid(digest) ? digest : std::string();
}

}  // namespace caisson::image
