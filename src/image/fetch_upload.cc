// SPDX-License-Identifier: Apache-2.0
// Uploads of blobs as the fetch worker does them: mounted, whole, or in chunks.
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "image/fetch_exchange.h"
#include "wire/digest.h"

namespace caisson::image {
namespace {

constexpr int64_t kChunk = 4 << 20;
constexpr int64_t kMaxChunk = int64_t{1} << 30;  // a registry that wants larger ones gets the blob whole

// Reads a part of a file by position: the descriptor's own offset is shared with the engine and with other tries.
class PositionedSource : public ByteSource {
 public:
  PositionedSource(int fd, int64_t begin, int64_t end, const std::function<void(int64_t)>& on_progress)
      : fd_(fd), end_(end), offset_(begin), on_progress_(on_progress) {}
  Result<size_t> read(std::span<char> buffer) override {
    size_t wanted = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(buffer.size()), end_ - offset_));
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
  int64_t end_, offset_;
  const std::function<void(int64_t)>& on_progress_;
};

// Where to send to, and in which pieces.
struct Upload {
  std::string location;  // "" when the blob was mounted
  int64_t min_chunk = 0;
};

std::string location_of(const registry::RegistryResponse& response) {
  auto location = registry::resolve_location(response.url, header_or_empty(response, "Location"));
  return location ? location->text() : "";
}

// POST that opens an upload.
TransferResult<Upload> begin_upload(registry::RegistryClient& client, const UploadRequest& upload, bool mount,
                                    const RetryPolicy& policy) {
  registry::RegistryRequest request;
  request.method = "POST";
  request.target = "/v2/" + upload.repository + "/blobs/uploads/";
  if (mount) {
    http::Query query;
    query.add("mount", upload.digest);
    query.add("from", upload.mount_from);
    request.target += "?" + query.encode();
    request.more_scope = registry::repository_scope(upload.mount_from, "pull");
  }
  auto response = send_patiently(client, request, policy);
  if (!response) return failed(std::move(response).error());
  int status = (*response)->status;
  if (status == 201 && mount) return Upload{};
  if (status != 202) return failed_response(**response);
  (void)(*response)->read_all(kMaxErrorBody);
  Upload out{location_of(**response)};
  if (out.location.empty()) return failed(Error{ErrorKind::kUnavailable, 0, "registry gave no place for the upload"});
  out.min_chunk = parse_int(header_or_empty(**response, "OCI-Chunk-Min-Length")).value_or(0);
  if (out.min_chunk < 0 || out.min_chunk > kMaxChunk) out.min_chunk = 0;
  return out;
}

class BlobUpload {
 public:
  BlobUpload(registry::RegistryClient& client, const UploadRequest& upload,
             const std::function<void(int64_t)>& on_progress, RetryPolicy policy)
      : client_(client), upload_(upload), on_progress_(on_progress), policy_(policy) {}

  TransferResult<bool> run() {
    bool mount = !upload_.mount_from.empty();
    for (int failures = 0;;) {
      auto begun = begin_upload(client_, upload_, mount, policy_);
      // Whoever may not read the other repository can still send the blob.
      if (!begun && mount && begun.error().error.kind == ErrorKind::kDenied) {
        mount = false;
        continue;
      }
      if (!begun) return std::unexpected(std::move(begun).error());
      if (begun->location.empty()) return true;
      bool chunks = chunked_ || begun->min_chunk > 0;
      auto sent = chunks ? send_chunks(*begun) : send_rest(begun->location, 0);
      if (sent) return false;
      if (!chunks && too_large_) {
        chunked_ = true;
        continue;
      }
      if (!worth_retrying(sent.error().error) || ++failures >= policy_.tries)
        return std::unexpected(std::move(sent).error());
      sleep_before_try(policy_, failures);
    }
  }

 private:
  // PUT of everything from `begin` on, which ends the upload.
  TransferResult<> send_rest(const std::string& location, int64_t begin) {
    registry::RegistryRequest request = piece(begin, upload_.size);
    request.method = "PUT";
    request.target = location + (location.contains('?') ? "&" : "?") + "digest=" + http::percent_encode(upload_.digest);
    auto response = client_.send(request);
    if (!response) return failed(std::move(response).error());
    int status = (*response)->status;
    too_large_ = status == 413;
    if (status != 201 && status != 204) return failed_response(**response);
    (void)(*response)->read_all(kMaxErrorBody);
    return {};
  }

  TransferResult<> send_chunks(const Upload& begun) {
    std::string location = begun.location;
    int64_t offset = 0, chunk = std::max(begun.min_chunk, kChunk);
    for (int failures = 0; offset < upload_.size;) {
      int64_t end = std::min(offset + chunk, upload_.size);
      registry::RegistryRequest request = piece(offset, end);
      request.method = "PATCH";
      request.target = location;
      request.headers.set("Content-Range", std::to_string(offset) + "-" + std::to_string(end - 1));
      auto response = client_.send(request);
      if (response && (*response)->status == 202) {
        (void)(*response)->read_all(kMaxErrorBody);
        if (std::string next = location_of(**response); !next.empty()) location = next;
        offset = end;
        failures = 0;
        continue;
      }
      TransferError error =
          response ? failed_response(**response).error() : TransferError{std::move(response).error(), ""};
      bool out_of_step = response && (*response)->status == 416;
      if ((!out_of_step && !worth_retrying(error.error)) || ++failures >= policy_.tries)
        return std::unexpected(std::move(error));
      sleep_before_try(policy_, failures);
      auto at = ask_offset(location);
      if (!at) return std::unexpected(std::move(error));
      offset = *at;
    }
    return send_rest(location, upload_.size);
  }

  // How much of the upload the registry has; the way is left where it moved to.
  TransferResult<int64_t> ask_offset(std::string& location) {
    registry::RegistryRequest request;
    request.target = location;
    auto response = send_patiently(client_, request, policy_);
    if (!response) return failed(std::move(response).error());
    if ((*response)->status != 204) return failed_response(**response);
    if (std::string next = location_of(**response); !next.empty()) location = next;
    // "0-0" stands for nothing as well as for one byte: sending that byte again is refused by none.
    auto range = split_once(header_or_empty(**response, "Range"), '-');
    auto last = range ? parse_int(range->second) : std::nullopt;
    if (!last || *last < 0 || *last >= upload_.size)
      return failed(Error{ErrorKind::kUnavailable, 0, "registry does not say how far the upload is"});
    return *last == 0 ? int64_t{0} : *last + 1;
  }

  registry::RegistryRequest piece(int64_t begin, int64_t end) const {
    registry::RegistryRequest request;
    request.headers.set("Content-Type", "application/octet-stream");
    request.body_size = end - begin;
    request.open_body = [this, begin, end]() -> Result<std::unique_ptr<ByteSource>> {
      return std::make_unique<PositionedSource>(upload_.fd, begin, end, on_progress_);
    };
    return request;
  }

  registry::RegistryClient& client_;
  const UploadRequest& upload_;
  const std::function<void(int64_t)>& on_progress_;
  const RetryPolicy policy_;
  bool chunked_ = false, too_large_ = false;
};

}  // namespace

TransferResult<bool> upload_blob(registry::RegistryClient& client, const UploadRequest& upload,
                                 const std::function<void(int64_t)>& on_progress, RetryPolicy policy) {
  return BlobUpload(client, upload, on_progress, policy).run();
}

TransferResult<bool> mount_blob(registry::RegistryClient& client, const UploadRequest& upload, RetryPolicy policy) {
  auto begun = begin_upload(client, upload, true, policy);
  if (!begun && begun.error().error.kind == ErrorKind::kDenied) return false;
  if (!begun) return std::unexpected(std::move(begun).error());
  if (begun->location.empty()) return true;
  // The registry has opened an upload instead, which nobody will fill.
  registry::RegistryRequest request;
  request.method = "DELETE";
  request.target = begun->location;
  if (auto response = client.send(request)) (void)(*response)->read_all(kMaxErrorBody);
  return false;
}

}  // namespace caisson::image
