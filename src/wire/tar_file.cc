// SPDX-License-Identifier: Apache-2.0
#include "wire/tar_file.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace caisson::tar {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kWorthAHole = 64 << 10;  // smaller ones would cut files into pieces for nothing

bool is_zero(const char* data, size_t size) {
  // A block that begins with something else, as nearly all do, costs one look.
  return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

// Bytes of zeros from `data` on, in whole pages.
size_t zero_run(std::span<const char> data) {
  size_t size = 0;
  while (data.size() - size >= kPage && is_zero(data.data() + size, kPage)) size += kPage;
  return size;
}

Result<> write_at(int fd, std::span<const char> data, uint64_t offset) {
  while (!data.empty()) {
    ssize_t done = pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return fail_errno("write");
    data = data.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
  return {};
}

Result<> write_but_zeros(int fd, std::span<const char> data, uint64_t offset) {
  size_t pending = 0, at = 0;  // [pending, at) is to be written
  while (at < data.size()) {
    size_t zeros = zero_run(data.subspan(at));
    if (zeros < kWorthAHole) {
      at += std::min(std::max(zeros, kPage), data.size() - at);
      continue;
    }
    TRY(write_at(fd, data.subspan(pending, at - pending), offset + pending));
    pending = at += zeros;
  }
  return write_at(fd, data.subspan(pending), offset + pending);
}

}  // namespace

Result<> write_member(Reader& reader, int fd, uint64_t size, std::span<char> buffer) {
  uint64_t at = 0, written_to = 0;
  while (true) {
    at += reader.skip_hole();
    size_t got = TRY(reader.read(buffer));
    if (got == 0) break;
    TRY(write_but_zeros(fd, buffer.first(got), at));
    at += got;
    // Where the last page was left out the file is not as long as it must be yet.
    written_to = is_zero(buffer.data() + got - 1, 1) ? 0 : at;
  }
  if (written_to != size && ftruncate(fd, static_cast<off_t>(size)) < 0) return fail_errno("ftruncate");
  return {};
}

}  // namespace caisson::tar
