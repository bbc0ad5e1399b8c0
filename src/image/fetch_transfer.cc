// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_transfer.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/text.h"
#include "image/fetch_protocol.h"
#include "spec/oci_image.h"
#include "wire/digest.h"

namespace caisson::image {
namespace {

constexpr size_t kMaxErrorBody = 64 << 10;
constexpr size_t kMaxTagList = 8 << 20;

std::unexpected<TransferError> failed(Error error) { return std::unexpected(TransferError{std::move(error), ""}); }

std::unexpected<TransferError> failed_response(registry::RegistryResponse& response) {
  auto body = response.read_all(kMaxErrorBody);
  auto failure = registry::failure_of_response(response.status, body ? *body : "");
  return std::unexpected(TransferError{std::move(failure.error), std::move(failure.code)});
}

void sleep_before_try(const RetryPolicy& policy, int failures) {
  int64_t delay = static_cast<int64_t>(policy.first_delay_ms) << std::min(failures - 1, 6);
  std::this_thread::sleep_for(std::chrono::milliseconds(delay));
}

bool worth_retrying(const Error& error) {
  return error.kind == ErrorKind::kUnavailable || error.kind == ErrorKind::kIo || error.kind == ErrorKind::kTimeout;
}

// "bytes 500-999/1000" must begin where we asked.
bool continues_at(const registry::RegistryResponse& response, int64_t offset) {
  auto range = response.headers.find("Content-Range");
  return range && range->starts_with("bytes " + std::to_string(offset) + "-");
}

std::string header_or_empty(const registry::RegistryResponse& response, std::string_view name) {
  auto value = response.headers.find(name);
  return value ? std::string(*value) : "";
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

// Reads a file by position: the descriptor's own offset is shared with the engine and with other tries.
class PositionedSource : public ByteSource {
 public:
  PositionedSource(int fd, int64_t size, const std::function<void(int64_t)>& on_progress)
      : fd_(fd), size_(size), on_progress_(on_progress) {}
  Result<size_t> read(std::span<char> buffer) override {
    size_t wanted = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(buffer.size()), size_ - offset_));
    if (wanted == 0) return size_t{0};
    ssize_t got = pread(fd_, buffer.data(), wanted, offset_);
    if (got < 0) return fail_errno("reading the blob");
    if (got == 0) return fail(ErrorKind::kCorrupt, "blob is shorter than its recorded size");
    offset_ += got;
    if (on_progress_) on_progress_(offset_);
    return static_cast<size_t>(got);
  }

 private:
  int fd_;
  int64_t size_, offset_ = 0;
  const std::function<void(int64_t)>& on_progress_;
};

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
                                            const std::string& reference, bool head_only) {
  registry::RegistryRequest request;
  request.method = head_only ? "HEAD" : "GET";
  request.target = "/v2/" + repository + "/manifests/" + reference;
  for (auto type : {spec::kOciIndex, spec::kOciManifest, spec::kDockerManifestList, spec::kDockerManifest})
    request.headers.add("Accept", std::string(type));
  auto response = client.send(request);
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

TransferResult<std::string> get_tags(registry::RegistryClient& client, const std::string& repository) {
  registry::RegistryRequest request;
  request.target = "/v2/" + repository + "/tags/list";
  auto response = client.send(request);
  if (!response) return failed(std::move(response).error());
  if ((*response)->status != 200) return failed_response(**response);
  auto body = (*response)->read_all(kMaxTagList);
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
    auto failure = registry::failure_of_response(response->status, body ? *body : "");
    code_ = failure.code;
    return std::unexpected(std::move(failure.error));
  }
  response_ = std::move(response);
  return {};
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
        return fail(ErrorKind::kCorrupt, "blob %s is larger than the %lld bytes of its descriptor", digest_.c_str(),
                    static_cast<long long>(size_));
      failures_ = 0;
      return got;
    }
    response_.reset();
    if (!worth_retrying(got.error()) || ++failures_ >= policy_.tries) return got;
    sleep_before_try(policy_, failures_);
  }
}

TransferResult<int64_t> find_blob(registry::RegistryClient& client, const std::string& repository,
                                  const std::string& digest) {
  registry::RegistryRequest request;
  request.method = "HEAD";
  request.target = "/v2/" + repository + "/blobs/" + digest;
  auto response = client.send(request);
  if (!response) return failed(std::move(response).error());
  int status = (*response)->status;
  if (status == 404) return int64_t{-1};
  if (status != 200) return failed_response(**response);
  auto size = parse_int(header_or_empty(**response, "Content-Length"));
  return size ? *size : int64_t{0};
}

namespace {

// POST that opens an upload: the address to send to, or "" when the blob was mounted.
TransferResult<std::string> begin_upload(registry::RegistryClient& client, const UploadRequest& upload) {
  registry::RegistryRequest request;
  request.method = "POST";
  request.target = "/v2/" + upload.repository + "/blobs/uploads/";
  if (!upload.mount_from.empty()) {
    http::Query query;
    query.add("mount", upload.digest);
    query.add("from", upload.mount_from);
    request.target += "?" + query.encode();
  }
  auto response = client.send(request);
  if (!response) return failed(std::move(response).error());
  int status = (*response)->status;
  if (status == 201) return std::string();
  if (status != 202) return failed_response(**response);
  (void)(*response)->read_all(kMaxErrorBody);
  auto location = registry::resolve_location((*response)->url, header_or_empty(**response, "Location"));
  if (!location) return failed(Error{ErrorKind::kUnavailable, 0, "registry gave no place for the upload"});
  return location->text();
}

}  // namespace

TransferResult<bool> upload_blob(registry::RegistryClient& client, const UploadRequest& upload,
                                 const std::function<void(int64_t)>& on_progress, RetryPolicy policy) {
  for (int failures = 0;;) {
    auto location = begin_upload(client, upload);
    if (location && location->empty()) return true;
    std::optional<TransferError> error;
    if (!location) {
      error = std::move(location).error();
    } else {
      registry::RegistryRequest request;
      request.method = "PUT";
      request.target =
          *location + (location->contains('?') ? "&" : "?") + "digest=" + http::percent_encode(upload.digest);
      request.headers.set("Content-Type", "application/octet-stream");
      request.body_size = upload.size;
      request.open_body = [&]() -> Result<std::unique_ptr<ByteSource>> {
        return std::make_unique<PositionedSource>(upload.fd, upload.size, on_progress);
      };
      auto response = client.send(request);
      if (response && ((*response)->status == 201 || (*response)->status == 204)) {
        (void)(*response)->read_all(kMaxErrorBody);
        return false;
      }
      error = response ? failed_response(**response).error() : TransferError{std::move(response).error(), ""};
    }
    if (!worth_retrying(error->error) || ++failures >= policy.tries) return std::unexpected(std::move(*error));
    sleep_before_try(policy, failures);
  }
}

TransferResult<std::string> put_manifest(registry::RegistryClient& client, const std::string& repository,
                                         const std::string& reference, const std::string& media_type,
                                         std::string body) {
  registry::RegistryRequest request;
  request.method = "PUT";
  request.target = "/v2/" + repository + "/manifests/" + reference;
  request.headers.set("Content-Type", media_type);
  request.body = std::move(body);
  auto response = client.send(request);
  if (!response) return failed(std::move(response).error());
  if ((*response)->status != 201 && (*response)->status != 200) return failed_response(**response);
  (void)(*response)->read_all(kMaxErrorBody);
  std::string digest = header_or_empty(**response, "Docker-Content-Digest");
  return digest::is_valid(digest) ? digest : std::string();
}

}  // namespace caisson::image
