// SPDX-License-Identifier: Apache-2.0
#include "wire/tar_writer.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/text.h"

namespace caisson::tar {
namespace {

constexpr size_t kWriterBlock = 512;
constexpr uint64_t kMaxOctal8 = 07777777, kMaxOctal12 = 077777777777;

char type_flag(EntryType type) {
  switch (type) {
    case EntryType::kFile: return '0';
    case EntryType::kHardLink: return '1';
    case EntryType::kSymlink: return '2';
    case EntryType::kCharDevice: return '3';
    case EntryType::kBlockDevice: return '4';
    case EntryType::kDirectory: return '5';
    case EntryType::kFifo: return '6';
  }
  return '0';
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// "LENGTH name=value\n" where LENGTH counts itself.
std::string pax_record(std::string_view name, std::string_view value) {
  size_t size = name.size() + value.size() + 3;
  size_t total = size + std::to_string(size).size();
  total = size + std::to_string(total).size();
  std::string out = std::to_string(total) + " ";
  out.append(name).append("=").append(value).append("\n");
  return out;
}

// Where a path of more than 100 bytes may be cut into ustar's prefix and name; 0 if nowhere.
size_t find_split(std::string_view path) {
  if (path.size() > 256) return 0;
  for (size_t i = path.size() - std::min<size_t>(path.size(), 101); i < path.size() && i <= 155; ++i)
    if (path[i] == '/' && i > 0 && i + 1 < path.size()) return i;
  return 0;
}

void put_octal(char* block, size_t offset, size_t width, uint64_t value) {
  char text[24];
  snprintf(text, sizeof text, "%0*llo", static_cast<int>(width - 1), static_cast<unsigned long long>(value));
  memcpy(block + offset, text, width - 1);
}

void put_text(char* block, size_t offset, size_t width, std::string_view text) { text.copy(block + offset, width); }

// A header block; numbers that do not fit are 0 (a pax record says them).
std::string header(char type, std::string_view name, std::string_view prefix, const Entry& entry, uint64_t size) {
  std::string out(kWriterBlock, '\0');
  char* block = out.data();
  put_text(block, 0, 100, name);
  put_octal(block, 100, 8, entry.mode & 07777);
  put_octal(block, 108, 8, entry.uid <= kMaxOctal8 ? entry.uid : 0);
  put_octal(block, 116, 8, entry.gid <= kMaxOctal8 ? entry.gid : 0);
  put_octal(block, 124, 12, size <= kMaxOctal12 ? size : 0);
  int64_t seconds = entry.mtime_ns / 1'000'000'000;
  put_octal(block, 136, 12,
            entry.mtime_ns >= 0 && static_cast<uint64_t>(seconds) <= kMaxOctal12 ? static_cast<uint64_t>(seconds) : 0);
  memset(block + 148, ' ', 8);
  block[156] = type;
  if (entry.link.size() <= 100) put_text(block, 157, 100, entry.link);
  memcpy(block + 257,
         "ustar\0"
         "00",
         8);
  put_octal(block, 329, 8, entry.device_major);
  put_octal(block, 337, 8, entry.device_minor);
  put_text(block, 345, 155, prefix);
  unsigned sum = 0;
  for (size_t i = 0; i < kWriterBlock; ++i) sum += static_cast<unsigned char>(block[i]);
  snprintf(block + 148, 8, "%06o", sum);
  block[155] = ' ';
  return out;
}

std::string pax_time(int64_t ns) {
  // Towards minus infinity would need a carry: sign and magnitude are written instead.
  uint64_t magnitude = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  std::string out =
      format("%s%llu.%09llu", ns < 0 ? "-" : "", static_cast<unsigned long long>(magnitude / 1'000'000'000),
             static_cast<unsigned long long>(magnitude % 1'000'000'000));
  while (out.ends_with('0')) out.pop_back();
  if (out.ends_with('.')) out.pop_back();
  return out;
}

}  // namespace

Result<> Writer::end_member() {
  if (data_left_ != 0)
    return fail(ErrorKind::kInternal, "tar writer: %llu bytes of a member are missing",
                static_cast<unsigned long long>(data_left_));
  static constexpr char kZeros[kWriterBlock] = {};
  if (padding_ != 0) TRY(inner_.write({kZeros, static_cast<size_t>(padding_)}));
  padding_ = 0;
  return {};
}

Result<> Writer::begin(const Entry& entry) {
  TRY(end_member());
  std::string path = entry.path;
  if (entry.type == EntryType::kDirectory && !path.ends_with('/')) path += '/';
  uint64_t size = entry.type == EntryType::kFile ? entry.size : 0;

  std::string pax;
  std::string_view name = path, prefix;
  if (!is_ascii(path)) {
    pax += pax_record("path", path);
  } else if (path.size() > 100) {
    if (size_t cut = find_split(path)) {
      prefix = name.substr(0, cut);
      name.remove_prefix(cut + 1);
    } else {
      pax += pax_record("path", path);
    }
  }
  name = name.substr(0, 100);
  if (entry.link.size() > 100 || !is_ascii(entry.link)) pax += pax_record("linkpath", entry.link);
  if (size > kMaxOctal12) pax += pax_record("size", std::to_string(size));
  if (entry.uid > kMaxOctal8) pax += pax_record("uid", std::to_string(entry.uid));
  if (entry.gid > kMaxOctal8) pax += pax_record("gid", std::to_string(entry.gid));
  if (entry.mtime_ns < 0 || entry.mtime_ns % 1'000'000'000 != 0) pax += pax_record("mtime", pax_time(entry.mtime_ns));
  for (const auto& [key, value] : entry.xattrs) pax += pax_record("SCHILY.xattr." + key, value);

  if (!pax.empty()) {
    Entry extended;
    size_t slash = path.find_last_of('/', path.size() - 2);
    std::string last = "PaxHeaders.0/" + path.substr(slash == std::string::npos ? 0 : slash + 1);
    size_t pax_size = pax.size();
    pax.resize((pax_size + kWriterBlock - 1) / kWriterBlock * kWriterBlock);
    TRY(inner_.write(header('x', std::string_view(last).substr(0, 100), "", extended, pax_size) + pax));
  }
  TRY(inner_.write(header(type_flag(entry.type), name, prefix, entry, size)));
  data_left_ = size;
  padding_ = (kWriterBlock - size % kWriterBlock) % kWriterBlock;
  return {};
}

Result<> Writer::write(std::string_view data) {
  if (data.size() > data_left_) return fail(ErrorKind::kIo, "tar writer: a member is longer than its header says");
  data_left_ -= data.size();
  return inner_.write(data);
}

Result<> Writer::add(const Entry& entry, ByteSource& data) {
  TRY(begin(entry));
  std::vector<char> buffer(128 << 10);
  while (size_t got = TRY(data.read(buffer))) TRY(write({buffer.data(), got}));
  if (data_left_ != 0)
    return fail(ErrorKind::kIo, "tar writer: %s is shorter than its header says", quoted(entry.path).c_str());
  return {};
}

Result<> Writer::add(Entry entry, std::string_view data) {
  entry.size = data.size();
  TRY(begin(entry));
  return write(data);
}

Result<> Writer::finish() {
  TRY(end_member());
  static constexpr char kZeros[2 * kWriterBlock] = {};
  return inner_.write({kZeros, sizeof kZeros});
}

}  // namespace caisson::tar
