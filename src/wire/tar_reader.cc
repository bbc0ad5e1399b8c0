// SPDX-License-Identifier: Apache-2.0
// Formats: POSIX.1-2017 pax(1) for ustar and pax, the GNU tar manual's "Basic Tar Format" for GNU.
#include "wire/tar_reader.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "wire/posix_acl.h"

namespace caisson::tar {
namespace {

constexpr size_t kBlock = 512, kBufferSize = 128 << 10;
constexpr uint64_t kMaxSize = uint64_t{1} << 60;

std::unexpected<Error> bad(const char* what) { return fail(ErrorKind::kInvalid, "invalid tar archive: %s", what); }

// A text field ends at its first NUL or its full width.
std::string field_text(const char* block, size_t offset, size_t width) {
  return std::string(block + offset, strnlen(block + offset, width));
}

Result<int64_t> field_number(const char* block, size_t offset, size_t width, const char* what) {
  auto value = parse_field(block, offset, width);
  if (!value) return bad(what);
  return *value;
}

bool checksum_fits(const char* block, int64_t wanted) {
  // Some old tars summed signed bytes.
  int64_t as_unsigned = 0, as_signed = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    bool in_field = i >= 148 && i < 156;
    as_unsigned += in_field ? ' ' : static_cast<unsigned char>(block[i]);
    as_signed += in_field ? ' ' : static_cast<signed char>(block[i]);
  }
  return wanted == as_unsigned || wanted == as_signed;
}

// Times that nanoseconds in 64 bits cannot say (after 2255) become the nearest that can.
constexpr int64_t kMaxSeconds = 9'000'000'000;

// "1350244992.023960108", maybe negative, to nanoseconds.
std::optional<int64_t> parse_pax_time(std::string_view text) {
  bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  std::string_view whole = text.substr(0, text.find('.')), fraction;
  if (whole.size() < text.size()) fraction = text.substr(whole.size() + 1);
  auto seconds = parse_uint(whole);
  if (!seconds) return std::nullopt;
  int64_t nanoseconds = 0, unit = 100'000'000;
  for (char c : fraction) {
    if (c < '0' || c > '9') return std::nullopt;
    nanoseconds += (c - '0') * unit;
    unit /= 10;
  }
  int64_t total = static_cast<int64_t>(std::min<uint64_t>(*seconds, kMaxSeconds)) * 1'000'000'000 + nanoseconds;
  return negative ? -total : total;
}

bool has_data(char type) { return type == '0' || type == '\0' || type == '7' || type == 'S'; }

}  // namespace

// What extended headers said about the member that follows them.
struct Reader::Extended {
  std::optional<std::string> path, link;
  std::optional<uint64_t> size, uid, gid;
  std::optional<int64_t> mtime_ns;
  std::map<std::string, std::string> xattrs;
  std::map<std::string, std::string> acls;  // as text, by the attribute they become
  // GNU.sparse.*
  SparseMap sparse;
  std::optional<std::string> sparse_name;
  std::optional<uint64_t> sparse_size;
  bool is_sparse = false, map_in_data = false;
};

Reader::Reader(ByteSource& inner, Limits limits) : inner_(inner), limits_(limits), buffer_(kBufferSize) {}
Reader::~Reader() = default;

Result<bool> Reader::fill() {
  if (begin_ < end_) return true;
  begin_ = 0;
  end_ = TRY(inner_.read(buffer_));
  return end_ > 0;
}

Result<bool> Reader::read_block(char* block) {
  size_t have = 0;
  while (have < kBlock) {
    if (!TRY(fill())) {
      if (have == 0) return false;
      return bad("it ends in the middle of a header");
    }
    size_t size = std::min(kBlock - have, end_ - begin_);
    memcpy(block + have, buffer_.data() + begin_, size);
    begin_ += size;
    have += size;
  }
  return true;
}

uint64_t Reader::skip_hole() {
  if (!is_sparse_) return 0;
  while (extent_ < extents_.size() && position_ == extents_[extent_].offset + extents_[extent_].size) ++extent_;
  uint64_t end = extent_ < extents_.size() ? extents_[extent_].offset : file_size_;
  return position_ < end ? end - std::exchange(position_, end) : 0;
}

Result<size_t> Reader::read(std::span<char> out) {
  if (!is_sparse_) return read_stored(out);
  uint64_t before = position_;
  if (uint64_t hole = skip_hole()) {
    size_t zeros = static_cast<size_t>(std::min<uint64_t>(hole, out.size()));
    memset(out.data(), 0, zeros);
    position_ = before + zeros;
    return zeros;
  }
  if (extent_ == extents_.size()) return 0;
  uint64_t left = extents_[extent_].offset + extents_[extent_].size - position_;
  size_t got = TRY(read_stored(out.first(static_cast<size_t>(std::min<uint64_t>(left, out.size())))));
  position_ += got;
  return got;
}

Result<size_t> Reader::read_stored(std::span<char> out) {
  if (data_left_ == 0 || out.empty()) return 0;
  size_t wanted = static_cast<size_t>(std::min<uint64_t>(out.size(), data_left_));
  size_t got;
  if (begin_ == end_ && wanted >= buffer_.size()) {
    got = TRY(inner_.read(out.first(wanted)));
    if (got == 0) return bad("it ends in the middle of a file");
  } else {
    if (!TRY(fill())) return bad("it ends in the middle of a file");
    got = std::min(wanted, end_ - begin_);
    memcpy(out.data(), buffer_.data() + begin_, got);
    begin_ += got;
  }
  data_left_ -= got;
  return got;
}

Result<> Reader::skip_rest() {
  uint64_t left = data_left_ + padding_left_;
  while (left > 0) {
    if (!TRY(fill())) return bad("it ends in the middle of a file");
    size_t size = static_cast<size_t>(std::min<uint64_t>(left, end_ - begin_));
    begin_ += size;
    left -= size;
  }
  data_left_ = padding_left_ = 0;
  return {};
}

Result<> Reader::drain() {
  begin_ = end_ = 0;
  data_left_ = padding_left_ = 0;
  at_end_ = true;
  while (TRY(inner_.read(buffer_)) > 0) {
  }
  return {};
}

Result<std::string> Reader::read_text(uint64_t size, size_t limit, const char* what) {
  if (size > limit) return fail(ErrorKind::kInvalid, "invalid tar archive: %s longer than %zu bytes", what, limit);
  data_left_ = size;
  padding_left_ = (kBlock - size % kBlock) % kBlock;
  std::string text(static_cast<size_t>(size), '\0');
  for (size_t have = 0; have < text.size();) have += TRY(read_stored({text.data() + have, text.size() - have}));
  TRY(skip_rest());
  return text;
}

Result<> Reader::take_pax(std::string_view records, Extended& extended) {
  while (!records.empty()) {
    size_t space = records.find(' ');
    auto length = parse_uint(records.substr(0, space));
    if (space == std::string_view::npos || space > 20 || !length || *length <= space + 1 || *length > records.size() ||
        records[*length - 1] != '\n')
      return bad("a pax record has a wrong length");
    std::string_view record = records.substr(space + 1, *length - space - 2);
    records.remove_prefix(*length);
    size_t equals = record.find('=');
    if (equals == std::string_view::npos || equals == 0) return bad("a pax record has no name");
    std::string_view name = record.substr(0, equals), value = record.substr(equals + 1);

    constexpr std::string_view kXattr = "SCHILY.xattr.";
    if (name == "path" || name == "linkpath") {
      // An empty value takes an earlier one back.
      auto& target = name == "path" ? extended.path : extended.link;
      if (value.empty())
        target.reset();
      else
        target = value;
    } else if (name == "size" || name == "uid" || name == "gid") {
      auto& target = name == "size" ? extended.size : name == "uid" ? extended.uid : extended.gid;
      target.reset();
      if (value.empty()) continue;
      target = parse_uint(value);
      if (!target || *target > (name == "size" ? kMaxSize : UINT32_MAX)) return bad("a pax record holds no number");
    } else if (name == "mtime") {
      extended.mtime_ns = parse_pax_time(value);
      if (!extended.mtime_ns && !value.empty()) return bad("a pax record holds no time");
    } else if (name.starts_with(kXattr)) {
      extended.xattrs[std::string(name.substr(kXattr.size()))] = value;
    } else if (name == "SCHILY.acl.access") {
      extended.acls["system.posix_acl_access"] = value;
    } else if (name == "SCHILY.acl.default") {
      extended.acls["system.posix_acl_default"] = value;
    } else if (name.starts_with("GNU.sparse.")) {
      extended.is_sparse = true;
      name.remove_prefix(11);
      if (name == "size" || name == "realsize") {
        extended.sparse_size = parse_uint(value);
        if (!extended.sparse_size || *extended.sparse_size > kMaxSize) return bad("a pax record holds no number");
      } else if (name == "name") {
        extended.sparse_name = value;
      } else if (name == "map") {
        TRY(extended.sparse.take_list(value));
      } else if (name == "offset" || name == "numbytes") {
        TRY(extended.sparse.take_number(name == "offset", value));
      } else if (name == "major") {
        extended.map_in_data = value == "1";
      }
    }
  }
  return {};
}

Result<std::optional<Entry>> Reader::next() {
  if (at_end_) return std::nullopt;
  TRY(skip_rest());
  is_sparse_ = false;
  Extended extended;
  bool extended_seen = false;
  while (true) {
    char block[kBlock];
    if (!TRY(read_block(block))) {
      at_end_ = true;
      if (extended_seen) return bad("an extended header has no member");
      return std::nullopt;
    }
    if (std::all_of(block, block + kBlock, [](char c) { return c == '\0'; })) {
      // Two blocks of zeros end the archive; a single one at the very end does too.
      bool more = TRY(read_block(block));
      if (more && !std::all_of(block, block + kBlock, [](char c) { return c == '\0'; }))
        return bad("a header is empty");
      at_end_ = true;
      if (extended_seen) return bad("an extended header has no member");
      return std::nullopt;
    }
    if (!checksum_fits(block, TRY(field_number(block, 148, 8, "a header's checksum is no number"))))
      return bad("a header's checksum is wrong");
    if (++entries_ > limits_.max_entries) return bad("too many members");
    char type = block[156];
    if (!std::string_view("xgXLK").contains(type)) return parse(block, extended);

    int64_t size = TRY(field_number(block, 124, 12, "a size is no number"));
    if (size < 0) return bad("a size is negative");
    bool is_name = type == 'L' || type == 'K';
    std::string text =
        TRY(read_text(static_cast<uint64_t>(size), is_name ? limits_.max_path + 1 : limits_.max_pax_bytes,
                      is_name ? "a path" : "an extended header"));
    // DOCKER-QUIRK: global headers ('g', as git archive writes them) are skipped, not applied.
    if (type == 'g') continue;
    extended_seen = true;
    if (type == 'L') extended.path = text.c_str();
    if (type == 'K') extended.link = text.c_str();
    if (type == 'x' || type == 'X') TRY(take_pax(text, extended));
  }
}

Result<std::optional<Entry>> Reader::parse(const char* block, Extended& extended) {
  Entry entry;
  std::string_view magic(block + 257, 8);
  bool ustar = magic.starts_with(std::string_view("ustar\0", 6)), gnu = magic == std::string_view("ustar  \0", 8);
  entry.path = field_text(block, 0, 100);
  if (ustar) {
    bool star = std::string_view(block + 508, 4) == std::string_view("tar\0", 4);
    if (std::string prefix = field_text(block, 345, star ? 131 : 155); !prefix.empty())
      entry.path = prefix + "/" + entry.path;
  }
  if (extended.path) entry.path = std::move(*extended.path);
  if (extended.sparse_name) entry.path = std::move(*extended.sparse_name);
  entry.link = extended.link ? std::move(*extended.link) : field_text(block, 157, 100);
  entry.xattrs = std::move(extended.xattrs);
  for (const auto& [name, text] : extended.acls)
    if (auto value = acl_to_xattr(text)) entry.xattrs.try_emplace(name, std::move(*value));

  entry.mode = static_cast<uint32_t>(TRY(field_number(block, 100, 8, "a mode is no number"))) & 07777;
  int64_t uid =
      extended.uid ? static_cast<int64_t>(*extended.uid) : TRY(field_number(block, 108, 8, "an owner is no number"));
  int64_t gid =
      extended.gid ? static_cast<int64_t>(*extended.gid) : TRY(field_number(block, 116, 8, "a group is no number"));
  if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX) return bad("an owner is out of range");
  entry.uid = static_cast<uint32_t>(uid);
  entry.gid = static_cast<uint32_t>(gid);
  int64_t seconds = TRY(field_number(block, 136, 12, "a time is no number"));
  seconds = std::clamp(seconds, -kMaxSeconds, kMaxSeconds);
  entry.mtime_ns = extended.mtime_ns ? *extended.mtime_ns : seconds * 1'000'000'000;
  int64_t size =
      extended.size ? static_cast<int64_t>(*extended.size) : TRY(field_number(block, 124, 12, "a size is no number"));
  if (size < 0 || static_cast<uint64_t>(size) > kMaxSize) return bad("a size is out of range");

  char type = block[156];
  switch (type) {
    case '\0':
    case '0':
    case '7':
      // v7 had no type for directories, only the slash.
      entry.type = entry.path.ends_with('/') && size == 0 ? EntryType::kDirectory : EntryType::kFile;
      break;
    case '1': entry.type = EntryType::kHardLink; break;
    case '2': entry.type = EntryType::kSymlink; break;
    case '3': entry.type = EntryType::kCharDevice; break;
    case '4': entry.type = EntryType::kBlockDevice; break;
    case '5': entry.type = EntryType::kDirectory; break;
    case '6': entry.type = EntryType::kFifo; break;
    case 'S': entry.type = EntryType::kFile; break;
    default:
      return fail(ErrorKind::kUnsupported, "tar archive: members of type %s are not supported",
                  quoted({&type, 1}).c_str());
  }
  if (entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice) {
    if (!ustar && !gnu) return bad("a device has no number");
    int64_t major = TRY(field_number(block, 329, 8, "a device is no number"));
    int64_t minor = TRY(field_number(block, 337, 8, "a device is no number"));
    if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) return bad("a device number is out of range");
    entry.device_major = static_cast<uint32_t>(major);
    entry.device_minor = static_cast<uint32_t>(minor);
  }
  for (const std::string* text : {&entry.path, &entry.link}) {
    if (text->size() > limits_.max_path)
      return fail(ErrorKind::kInvalid, "invalid tar archive: a path longer than %zu bytes", limits_.max_path);
    if (text->find('\0') != std::string::npos) return bad("a path holds a NUL byte");
  }
  if (entry.path.empty()) return bad("a member has no name");
  // Only files carry data, whatever the size field of the others says.
  if (has_data(type)) TRY(set_data(block, extended, static_cast<uint64_t>(size), entry));
  return entry;
}

Result<> Reader::set_data(const char* block, Extended& extended, uint64_t stored, Entry& entry) {
  bool is_old_sparse = block[156] == 'S';
  is_sparse_ = is_old_sparse || extended.is_sparse;
  entry.size = stored;
  if (is_sparse_) {
    if (!limits_.allow_sparse) return fail(ErrorKind::kUnsupported, "tar archive: sparse files are not supported here");
    SparseMap map = std::move(extended.sparse);
    if (is_old_sparse) {
      int64_t real_size = TRY(field_number(block, 483, 12, "a size is no number"));
      if (real_size < 0 || static_cast<uint64_t>(real_size) > kMaxSize) return bad("a size is out of range");
      entry.size = static_cast<uint64_t>(real_size);
      bool more = TRY(map.take_fields(block, 386, 4)) && block[482] != 0;
      char next[kBlock];
      while (more) {
        if (!TRY(read_block(next))) return bad("it ends in the middle of a header");
        more = TRY(map.take_fields(next, 0, 21)) && next[504] != 0;
      }
    } else {
      if (!extended.sparse_size) return bad("a sparse file has no size");
      entry.size = *extended.sparse_size;
      SparseLines lines;
      for (bool done = !extended.map_in_data; !done;) {
        char next[kBlock];
        if (stored < kBlock || !TRY(read_block(next))) return bad("it ends in the middle of a sparse map");
        stored -= kBlock;
        done = TRY(lines.take_block({next, kBlock}));
        if (done) map = std::move(lines.map());
      }
    }
    TRY(map.check(entry.size, stored));
    extents_ = map.take();
    extent_ = 0;
    position_ = 0;
    file_size_ = entry.size;
  }
  data_left_ = stored;
  padding_left_ = (kBlock - stored % kBlock) % kBlock;
  return {};
}

}  // namespace caisson::tar
