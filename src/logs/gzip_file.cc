// SPDX-License-Identifier: Apache-2.0
#include "logs/gzip_file.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "sys/files.h"

namespace caisson::logs {

namespace {

constexpr size_t kSlice = 16 << 10;
// 8 KiB of window and small tables: 64 KiB of memory instead of 256, for a few percent of size.
constexpr int kWindowBits = 13, kMemLevel = 6, kLevel = 3, kGzip = 16;
constexpr int64_t kMaxInflated = int64_t{4} << 30;
constexpr unsigned char kExtra[4] = {'C', 'a', 8, 0};  // RFC 1952, 2.3.1.1: our subfield, eight bytes

}  // namespace

struct GzipJob::Stream {
  z_stream z{};
  gz_header header{};
  unsigned char extra[12];
  char in[kSlice];
  char out[kSlice];
  bool open = false;
  ~Stream() {
    if (open) deflateEnd(&z);
  }
};

GzipJob::GzipJob() : stream_(std::make_unique<Stream>()) {}

GzipJob::~GzipJob() {
  if (!target_.empty()) unlink(target_.c_str());
}

Result<std::unique_ptr<GzipJob>> GzipJob::begin(const std::string& source, const std::string& target) {
  std::unique_ptr<GzipJob> job(new GzipJob);
  job->in_ = TRY(sys::open_file(source, O_RDONLY | O_NOFOLLOW));
  struct stat st {};
  if (fstat(job->in_.get(), &st) < 0) return fail_errno("fstat '%s'", source.c_str());
  job->inode_ = st.st_ino;
  job->out_ = TRY(sys::open_file(target, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640));
  job->target_ = target;
  Stream& stream = *job->stream_;
  if (deflateInit2(&stream.z, kLevel, Z_DEFLATED, kWindowBits + kGzip, kMemLevel, Z_DEFAULT_STRATEGY) != Z_OK)
    return fail(ErrorKind::kExhausted, "no memory to compress '%s'", source.c_str());
  stream.open = true;
  memcpy(stream.extra, kExtra, sizeof kExtra);
  uint64_t inode = htole64(st.st_ino);
  memcpy(stream.extra + sizeof kExtra, &inode, sizeof inode);
  stream.header.extra = stream.extra;
  stream.header.extra_len = sizeof stream.extra;
  stream.header.os = 3;
  deflateSetHeader(&stream.z, &stream.header);
  return job;
}

Result<bool> GzipJob::step(size_t bytes) {
  Stream& stream = *stream_;
  for (size_t done = 0; !done_ && done < bytes;) {
    ssize_t got = read(in_.get(), stream.in, sizeof stream.in);
    if (got < 0) return fail_errno("read rotated log");
    stream.z.next_in = reinterpret_cast<unsigned char*>(stream.in);
    stream.z.avail_in = static_cast<unsigned>(got);
    done += static_cast<size_t>(got);
    int state;
    do {
      stream.z.next_out = reinterpret_cast<unsigned char*>(stream.out);
      stream.z.avail_out = sizeof stream.out;
      state = deflate(&stream.z, got == 0 ? Z_FINISH : Z_NO_FLUSH);
      if (state == Z_STREAM_ERROR) return fail(ErrorKind::kInternal, "deflate failed");
      TRY(sys::write_all(out_.get(), {stream.out, sizeof stream.out - stream.z.avail_out}));
    } while (stream.z.avail_out == 0);
    done_ = state == Z_STREAM_END;
  }
  if (!done_) return false;
  // The plain file is removed next: a power loss must find one of the two.
  if (fdatasync(out_.get()) < 0) return fail_errno("fdatasync '%s'", target_.c_str());
  return true;
}

ino_t plain_inode_of(int gzip_file) {
  unsigned char head[24];
  constexpr unsigned char kFlagExtra = 4;
  if (pread(gzip_file, head, sizeof head, 0) != sizeof head) return 0;
  bool ours = head[0] == 0x1f && head[1] == 0x8b && (head[3] & kFlagExtra) && head[10] == 12 && head[11] == 0 &&
              memcmp(head + 12, kExtra, sizeof kExtra) == 0;
  uint64_t inode;
  memcpy(&inode, head + 16, sizeof inode);
  return ours ? le64toh(inode) : 0;
}

Result<UniqueFd> inflate_to_nameless(int gzip_file, const std::string& directory) {
  UniqueFd out = TRY(sys::open_file(directory, O_TMPFILE | O_RDWR, 0600));
  struct Inflater {
    z_stream z{};
    char in[kSlice], out[4 * kSlice];
    ~Inflater() { inflateEnd(&z); }
  };
  auto stream = std::make_unique<Inflater>();
  if (inflateInit2(&stream->z, MAX_WBITS + kGzip) != Z_OK)
    return fail(ErrorKind::kExhausted, "no memory to decompress");
  int64_t at = 0, written = 0;
  int state = Z_OK;
  while (state == Z_OK && written < kMaxInflated) {
    ssize_t got = pread(gzip_file, stream->in, sizeof stream->in, at);
    if (got < 0) return fail_errno("read compressed log");
    if (got == 0) break;
    at += got;
    stream->z.next_in = reinterpret_cast<unsigned char*>(stream->in);
    stream->z.avail_in = static_cast<unsigned>(got);
    do {
      stream->z.next_out = reinterpret_cast<unsigned char*>(stream->out);
      stream->z.avail_out = sizeof stream->out;
      state = inflate(&stream->z, Z_NO_FLUSH);
      if (state == Z_BUF_ERROR) state = Z_OK;  // wants more input
      size_t size = sizeof stream->out - stream->z.avail_out;
      TRY(sys::write_all(out.get(), {stream->out, size}));
      written += static_cast<int64_t>(size);
    } while (state == Z_OK && stream->z.avail_out == 0);
  }
  return out;
}

}  // namespace caisson::logs
