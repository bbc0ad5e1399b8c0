// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_parts.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>
#include <thread>
#include <vector>

#include "image/fetch_endpoints.h"
#include "image/pull_stream.h"
#include "sys/files.h"
#include "wire/digest.h"

namespace caisson::image {
namespace {

using Session = std::unique_ptr<FetchSession>;

Result<Session> open_for_push(const FetchConfig& config, const TransferRequest& request) {
  TRY(check_request(request));
  return FetchSession::start(config, TRY(push_endpoint(config, request)), request.cancel);
}

// From the registry itself: parts that no image wants are seldom mirrored.
Result<Session> open_for_pull(const FetchConfig& config, const TransferRequest& request) {
  TRY(check_request(request));
  auto endpoints = TRY(pull_endpoints(config, request));
  return FetchSession::start(config, endpoints.back(), request.cancel);
}

Result<FetchReply> call(FetchSession& session, FetchJob job, UniqueFd fd, std::string& code) {
  std::vector<UniqueFd> fds;
  if (fd) fds.push_back(std::move(fd));
  FetchReply refused;
  auto reply = session.call(std::move(job), std::move(fds), {}, &refused);
  if (!reply) code = refused.code;
  return reply;
}

Result<bool> has_blob(FetchSession& session, const std::string& digest, std::string& code) {
  return TRY(call(session, {.kind = "exists", .digest = digest}, {}, code)).size >= 0;
}

Result<UniqueFd> unnamed_file(const FetchConfig& config) {
  return sys::open_file(config.tmp_dir, O_TMPFILE | O_RDWR, 0600);
}

Result<> upload(FetchSession& session, UniqueFd file, const BlobPart& part, std::string& code) {
  TRY(call(session, {.kind = "upload", .digest = part.digest, .size = part.size}, std::move(file), code));
  return {};
}

Result<> check_part(const BlobPart& part) {
  if (!digest::is_valid(part.digest)) return fail(ErrorKind::kInvalid, "blob has no valid digest");
  if (part.size < 0 || part.size > kMaxPartBytes) return fail(ErrorKind::kInvalid, "size of the blob is out of bounds");
  return {};
}

Result<> fetch_blob(FetchSession& session, const BlobPart& part, ByteSink& out, std::string& code) {
  Pipe pipe = TRY(make_pipe());
  Result<FetchReply> reply;
  std::thread caller([&, job = FetchJob{.kind = "blob", .digest = part.digest, .size = part.size}]() mutable {
    reply = call(session, std::move(job), std::move(pipe.write_end), code);
  });
  MeteredSource source(pipe.read_end.get(), part.size, "blob");
  digest::HashingSink hashing(out);
  auto copied = [&]() -> Result<> {
    std::string buffer(256 << 10, '\0');
    while (size_t got = TRY(source.read(buffer))) TRY(hashing.write(std::string_view(buffer).substr(0, got)));
    return {};
  }();
  pipe.read_end.reset();
  caller.join();
  // The worker's own end is no news where this side closed the pipe.
  if (!copied) return copied;
  if (!reply) return std::unexpected(std::move(reply).error());
  if (hashing.finish() != part.digest)
    return fail(ErrorKind::kCorrupt, "blob verification failed for digest %s", part.digest.c_str());
  return {};
}

}  // namespace

Result<std::string> put_remote_document(const FetchConfig& config, const TransferRequest& request,
                                        const std::string& media_type, const std::string& body, std::string& code) {
  std::string digest = digest::sha256(body);
  const auto& reference = request.reference;
  if (!reference.digest.empty() && reference.digest != digest)
    return fail(ErrorKind::kInvalid, "the manifest's digest is %s, not %s", digest.c_str(), reference.digest.c_str());
  Session session = TRY(open_for_push(config, request));
  UniqueFd file(memfd_create("document", MFD_CLOEXEC));
  if (!file) return fail_errno("memfd_create");
  TRY(sys::write_all(file.get(), body));
  if (lseek(file.get(), 0, SEEK_SET) < 0) return fail_errno("lseek");
  FetchJob job{.kind = "put_manifest",
               .reference = reference.digest.empty() ? reference.tag : reference.digest,
               .media_type = media_type};
  FetchReply reply = TRY(call(*session, std::move(job), std::move(file), code));
  if (!reply.digest.empty() && reply.digest != digest)
    return fail(ErrorKind::kCorrupt, "registry filed the manifest as %s, it is %s", reply.digest.c_str(),
                digest.c_str());
  return digest;
}

Result<std::string> find_referrers(const FetchConfig& config, const TransferRequest& request, std::string& code) {
  if (request.reference.digest.empty()) return fail(ErrorKind::kInvalid, "referrers are found by digest");
  Session session = TRY(open_for_pull(config, request));
  FetchReply refused;
  auto document = fetch_document(*session, {.kind = "referrers", .digest = request.reference.digest},
                                 2 * kMaxManifestBytes, &refused);
  if (!document) {
    code = refused.code;
    return std::unexpected(std::move(document).error());
  }
  return std::move(document->body);
}

Result<BlobPart> put_remote_blob(const FetchConfig& config, const TransferRequest& request, ByteSource& body,
                                 std::string& code) {
  UniqueFd file = TRY(unnamed_file(config));
  sys::FdSink sink(file.get());
  digest::HashingSink hashing(sink);
  std::string buffer(256 << 10, '\0');
  while (size_t got = TRY(body.read(buffer))) {
    if (hashing.bytes() + got > static_cast<uint64_t>(kMaxPartBytes))
      return fail(ErrorKind::kInvalid, "blob is larger than %lld bytes", static_cast<long long>(kMaxPartBytes));
    TRY(hashing.write(std::string_view(buffer).substr(0, got)));
  }
  BlobPart part{.size = static_cast<int64_t>(hashing.bytes())};
  part.digest = hashing.finish();
  Session session = TRY(open_for_push(config, request));
  if (!TRY(has_blob(*session, part.digest, code))) TRY(upload(*session, std::move(file), part, code));
  return part;
}

Result<> get_remote_blob(const FetchConfig& config, const TransferRequest& request, const BlobPart& part, ByteSink& out,
                         std::string& code) {
  TRY(check_part(part));
  Session session = TRY(open_for_pull(config, request));
  return fetch_blob(*session, part, out, code);
}

Result<> adopt_remote_blob(const FetchConfig& config, const TransferRequest& request, const std::string& from,
                           const BlobPart& part, std::string& code) {
  TRY(check_part(part));
  Session session = TRY(open_for_push(config, request));
  if (TRY(has_blob(*session, part.digest, code))) return {};
  FetchJob mount{.kind = "mount", .digest = part.digest, .mount_from = from};
  if (TRY(call(*session, std::move(mount), {}, code)).note == "mounted") return {};
  TransferRequest there = request;
  there.reference.path = from;
  UniqueFd file = TRY(unnamed_file(config));
  sys::FdSink sink(file.get());
  Session source = TRY(open_for_pull(config, there));
  TRY(fetch_blob(*source, part, sink, code));
  return upload(*session, std::move(file), part, code);
}

}  // namespace caisson::image
