// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_worker.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "image/fetch_protocol.h"
#include "image/fetch_transfer.h"
#include "image/fetch_url.h"
#include "sys/files.h"
#include "sys/unix_socket.h"
#include "wire/compress.h"
#include "wire/compress_any.h"
#include "wire/digest.h"

namespace caisson::image {
namespace {

constexpr size_t kCopyBuffer = 256 << 10;
constexpr int64_t kProgressIntervalNs = 100'000'000;

// Everything read also goes to a sink, so that the compressed bytes are stored while they are unpacked.
class TeeSource : public ByteSource {
 public:
  TeeSource(ByteSource& inner, ByteSink& copy) : inner_(inner), copy_(copy) {}
  Result<size_t> read(std::span<char> buffer) override {
    size_t size = TRY(inner_.read(buffer));
    if (size > 0) TRY(copy_.write(std::string_view(buffer.data(), size)));
    return size;
  }

 private:
  ByteSource& inner_;
  ByteSink& copy_;
};

// The first `size` bytes from a file, by position as the engine reads it too; then the rest.
class PrefixedSource : public ByteSource {
 public:
  PrefixedSource(int fd, int64_t size, ByteSource& rest) : fd_(fd), size_(fd < 0 ? 0 : size), rest_(rest) {}
  Result<size_t> read(std::span<char> buffer) override {
    if (at_ == size_) return rest_.read(buffer);
    ssize_t got = pread(fd_, buffer.data(), std::min<size_t>(buffer.size(), static_cast<size_t>(size_ - at_)), at_);
    if (got < 0) return fail_errno("reading the blob");
    if (got == 0) return fail(ErrorKind::kCorrupt, "blob is shorter than its recorded size");
    at_ += got;
    return static_cast<size_t>(got);
  }

 private:
  int fd_;
  int64_t at_ = 0, size_;
  ByteSource& rest_;
};

Result<> copy_all(ByteSource& from, ByteSink& to) {
  std::string buffer(kCopyBuffer, '\0');
  while (true) {
    size_t size = TRY(from.read(buffer));
    if (size == 0) return {};
    TRY(to.write(std::string_view(buffer.data(), size)));
  }
}

Result<> drain(ByteSource& from) {
  std::string buffer(kCopyBuffer, '\0');
  while (TRY(from.read(buffer)) > 0) {
  }
  return {};
}

FetchReply success() { return FetchReply{.done = true, .ok = true}; }

FetchReply failure(const Error& error, const std::string& code = "") {
  return FetchReply{
      .done = true, .ok = false, .error_kind = error_kind_name(error.kind), .message = error.message, .code = code};
}
FetchReply failure(const TransferError& error) { return failure(error.error, error.code); }

class Worker {
 public:
  Worker(int control, RetryPolicy retries) : control_(control), retries_(retries) {}

  Result<> serve() {
    Result<> outcome;
    while (true) {
      auto message = sys::receive_message(control_, kMaxFetchMessage);
      if (!message) outcome = std::unexpected(std::move(message).error());
      if (!message || message->data.empty()) break;
      auto job = parse_fetch_job(message->data);
      if (!job) outcome = std::unexpected(std::move(job).error());
      if (!job) break;
      start(std::move(*job), std::move(message->fds));
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return running_ == 0; });
    return outcome;
  }

 private:
  void start(FetchJob job, std::vector<UniqueFd> fds) {
    if (job.kind == "setup") return answer(job.id, set_up(job.setup));
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return running_ < kMaxJobsAtOnce; });
    ++running_;
    std::thread([this, job = std::move(job), fds = std::move(fds)]() mutable {
      FetchReply reply = run(job, fds);
      fds.clear();  // the engine sees the end of the pipes before it sees the answer
      answer(job.id, std::move(reply));
      std::lock_guard guard(mutex_);
      --running_;
      changed_.notify_all();
    }).detach();
  }

  void answer(int64_t id, FetchReply reply) {
    reply.id = id;
    if (auto sent = sys::send_message(control_, json::encode(reply)); !sent)
      log_debug("answering the engine: %s, ignoring", sent.error().message.c_str());
  }

  FetchReply set_up(const FetchSetup& setup) {
    auto credentials = registry::parse_auth_config(setup.auth);
    if (!credentials) return failure(credentials.error());
    registry::RegistryOptions options;
    options.host = setup.host;
    options.insecure = setup.insecure;
    options.ca_pem = setup.ca_pem;
    options.client_cert_pem = setup.client_cert_pem;
    options.client_key_pem = setup.client_key_pem;
    options.insecure_networks = setup.insecure_networks;
    options.offline_token = setup.offline_token;
    options.idle_timeout_s = static_cast<int>(std::clamp<int64_t>(setup.timeout_s, 1, 3600));
    options.connect_timeout_ms = std::min(options.connect_timeout_ms, options.idle_timeout_s * 1000);
    retries_.window_s = options.idle_timeout_s;
    if (setup.tries > 0) retries_.tries = static_cast<int>(std::min<int64_t>(setup.tries, 100));
    options.repository = setup.repository;
    options.push = setup.push;
    options.credentials = std::move(*credentials);
    auto client = registry::RegistryClient::create(std::move(options));
    if (!client) return failure(client.error());
    client_ = std::move(*client);
    repository_ = setup.repository;
    ca_pem_ = setup.ca_pem;
    return success();
  }

  FetchReply run(const FetchJob& job, std::vector<UniqueFd>& fds) {
    if (!client_) return failure(Error{ErrorKind::kInternal, 0, "job before setup"});
    auto needs = [&](size_t count) { return fds.size() >= count; };
    if (job.kind == "login") return login();
    if (job.kind == "url" && needs(1)) return url(job, fds[0].get());
    if (job.kind == "manifest" && needs(1)) return manifest(job, fds[0].get());
    if (job.kind == "head") return head(job);
    if (job.kind == "tags" && needs(1)) return tags(fds[0].get());
    if (job.kind == "referrers" && needs(1)) return referrers(job, fds[0].get());
    if (job.kind == "search" && needs(1)) return search(job, fds[0].get());
    if (job.kind == "blob" && needs(1)) return blob(job, fds);
    if (job.kind == "unpack" && needs(2)) return unpack(fds[0].get(), fds[1].get());
    if (job.kind == "compress" && needs(2)) return gzip(fds[0].get(), fds[1].get());
    if (job.kind == "exists") return exists(job);
    if (job.kind == "upload" && needs(1)) return upload(job, fds[0].get());
    if (job.kind == "mount") return mount(job);
    if (job.kind == "put_manifest" && needs(1)) return put(job, fds[0].get());
    return failure(Error{ErrorKind::kInternal, 0, format("unknown job %s", quoted(job.kind).c_str())});
  }

  FetchReply url(const FetchJob& job, int out) {
    sys::FdSink sink(out);
    auto done = download_url(job.reference, ca_pem_, sink);
    return done ? success() : failure(done.error());
  }

  FetchReply login() {
    auto accepted = check_login(*client_);
    if (!accepted) return failure(accepted.error());
    FetchReply reply = success();
    reply.identity_token = client_->identity_token();
    return reply;
  }

  FetchReply manifest(const FetchJob& job, int out) {
    auto answer = get_manifest(*client_, repository_, job.reference, false, retries_);
    if (!answer) return failure(answer.error());
    if (auto written = sys::write_all(out, answer->body); !written) return failure(written.error());
    FetchReply reply = success();
    reply.digest = answer->digest;
    reply.media_type = answer->media_type;
    return reply;
  }

  FetchReply head(const FetchJob& job) {
    auto answer = get_manifest(*client_, repository_, job.reference, true, retries_);
    if (!answer) return failure(answer.error());
    FetchReply reply = success();
    reply.digest = answer->digest;
    reply.media_type = answer->media_type;
    return reply;
  }

  FetchReply tags(int out) {
    auto body = get_tags(*client_, repository_, retries_);
    if (!body) return failure(body.error());
    if (auto written = sys::write_all(out, *body); !written) return failure(written.error());
    return success();
  }

  FetchReply referrers(const FetchJob& job, int out) {
    auto body = get_referrers(*client_, repository_, job.digest, retries_);
    if (!body) return failure(body.error());
    if (auto written = sys::write_all(out, *body); !written) return failure(written.error());
    return success();
  }

  FetchReply search(const FetchJob& job, int out) {
    auto body = get_search(*client_, job.reference, retries_);
    if (!body) return failure(body.error());
    if (auto written = sys::write_all(out, *body); !written) return failure(written.error());
    return success();
  }

  FetchReply blob(const FetchJob& job, std::vector<UniqueFd>& fds) {
    BlobSource source(*client_, repository_, job.digest, job.size, retries_, job.offset);
    sys::FdSink stored(fds[0].get());
    Result<> outcome;
    if (fds.size() == 1) {
      outcome = copy_all(source, stored);
    } else {
      TeeSource fetched(source, stored);
      PrefixedSource tee(job.offset > 0 && fds.size() > 2 ? fds[2].get() : -1, job.offset, fetched);
      sys::FdSink tar(fds[1].get());
      outcome = decompress_to(tee, tar);
    }
    return outcome ? success() : failure(outcome.error(), source.code());
  }

  static Result<> decompress_to(ByteSource& compressed, ByteSink& tar) {
    auto decompress = [&]() -> Result<> {
      auto plain = TRY(compress::open_any(compressed));
      return copy_all(*plain, tar);
    };
    // The engine may close the tar early: the layer is refused or must wait for its parents. The blob is still wanted.
    auto copied = decompress();
    if (!copied && copied.error().kind != ErrorKind::kCorrupt && copied.error().err != EPIPE) return copied;
    // Bytes behind the compressed stream, or behind what cannot be decompressed, belong to the blob's digest all the
    // same.
    TRY(drain(compressed));
    return copied || copied.error().err == EPIPE ? Result<>() : copied;
  }

  FetchReply unpack(int blob, int tar) {
    sys::FdSource source(blob);
    sys::FdSink sink(tar);
    auto outcome = decompress_to(source, sink);
    return outcome ? success() : failure(outcome.error());
  }

  static FetchReply gzip(int tar, int out) {
    sys::FdSource source(tar);
    sys::FdSink file(out);
    digest::HashingSink hashing(file);
    auto outcome = [&]() -> Result<> {
      compress::GzipSink encoder(hashing);
      TRY(copy_all(source, encoder));
      return encoder.finish();
    }();
    if (!outcome) return failure(outcome.error());
    FetchReply reply = success();
    reply.size = static_cast<int64_t>(hashing.bytes());
    reply.digest = hashing.finish();
    return reply;
  }

  FetchReply exists(const FetchJob& job) {
    auto size = find_blob(*client_, repository_, job.digest, retries_);
    if (!size) return failure(size.error());
    FetchReply reply = success();
    reply.size = *size;
    return reply;
  }

  FetchReply upload(const FetchJob& job, int blob) {
    int64_t last_ns = 0;
    auto on_progress = [&](int64_t bytes) {
      int64_t now = monotonic_ns();
      if (now - last_ns < kProgressIntervalNs) return;
      last_ns = now;
      answer(job.id, FetchReply{.size = bytes});
    };
    auto mounted =
        upload_blob(*client_, {repository_, job.digest, job.mount_from, blob, job.size}, on_progress, retries_);
    if (!mounted) return failure(mounted.error());
    FetchReply reply = success();
    if (*mounted) reply.note = "mounted";
    return reply;
  }

  FetchReply mount(const FetchJob& job) {
    auto mounted =
        mount_blob(*client_, {.repository = repository_, .digest = job.digest, .mount_from = job.mount_from}, retries_);
    if (!mounted) return failure(mounted.error());
    FetchReply reply = success();
    if (*mounted) reply.note = "mounted";
    return reply;
  }

  FetchReply put(const FetchJob& job, int document) {
    auto body = sys::read_fd(document, kMaxManifestBytes);
    if (!body) return failure(body.error());
    auto digest = put_manifest(*client_, repository_, job.reference, job.media_type, std::move(*body), retries_);
    if (!digest) return failure(digest.error());
    FetchReply reply = success();
    reply.digest = *digest;
    return reply;
  }

  const int control_;
  RetryPolicy retries_;
  std::unique_ptr<registry::RegistryClient> client_;
  std::string repository_, ca_pem_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int running_ = 0;
};

}  // namespace

Result<> serve_fetch(int control, RetryPolicy retries) { return Worker(control, retries).serve(); }

}  // namespace caisson::image
