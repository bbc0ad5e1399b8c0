// SPDX-License-Identifier: Apache-2.0
#include "image/pull_stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <thread>

namespace caisson::image {

Result<Pipe> make_pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) < 0) return fail_errno("pipe2");
  Pipe out{UniqueFd(fds[0]), UniqueFd(fds[1])};
  // Fewer wake-ups between worker and engine; refused beyond the user's pipe quota, which is no harm.
  (void)fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
  return out;
}

Result<size_t> MeteredSource::read(std::span<char> buffer) {
  ssize_t got;
  do {
    got = ::read(fd_, buffer.data(), buffer.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) return fail_errno("reading from the fetch worker");
  bytes_ += got;
  if (bytes_ > limit_)
    return fail(ErrorKind::kExhausted, "%s is larger than %lld bytes", what_.c_str(), static_cast<long long>(limit_));
  if (on_bytes_ && got > 0) on_bytes_(bytes_);
  return static_cast<size_t>(got);
}

Result<Document> fetch_document(FetchSession& session, FetchJob job, int64_t limit, FetchReply* failed) {
  Pipe pipe = TRY(make_pipe());
  std::vector<UniqueFd> fds;
  fds.push_back(std::move(pipe.write_end));
  Result<FetchReply> reply;
  std::thread caller([&] { reply = session.call(std::move(job), std::move(fds), {}, failed); });
  Document out;
  MeteredSource source(pipe.read_end.get(), limit, "document from the registry");
  Result<size_t> got;
  std::string buffer(64 << 10, '\0');
  while ((got = source.read(buffer)) && *got > 0) out.body.append(buffer, 0, *got);
  pipe.read_end.reset();
  caller.join();
  if (!got && got.error().kind == ErrorKind::kExhausted) return std::unexpected(std::move(got).error());
  out.reply = TRY(std::move(reply));
  if (!got) return std::unexpected(std::move(got).error());
  return out;
}

}  // namespace caisson::image
