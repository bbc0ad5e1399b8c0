// SPDX-License-Identifier: Apache-2.0
#include "image/archive_members.h"

#include "base/text.h"
#include "wire/compress.h"
#include "wire/digest.h"
#include "wire/tar_reader.h"

namespace caisson::image {
namespace {

constexpr size_t kMaxMembers = 20'000;

// Member names are only keys of a map here and never touch the file system, so ".." needs no refusal:
// the name is just cleaned. "" for the root.
std::string clean(const std::string& name) {
  std::vector<std::string> out;
  for (std::string& part : split(name, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!out.empty()) out.pop_back();
    } else {
      out.push_back(std::move(part));
    }
  }
  return join(out, "/");
}

std::string directory_of(const std::string& name) {
  size_t slash = name.rfind('/');
  return slash == std::string::npos ? "" : name.substr(0, slash + 1);
}

// Damage of the stream is the sender's mistake; trouble with our own disk is not.
std::unexpected<Error> not_an_archive(Error error) {
  if (error.kind == ErrorKind::kCorrupt || error.kind == ErrorKind::kUnsupported) error.kind = ErrorKind::kInvalid;
  return with_context(std::move(error), "image archive");
}

}  // namespace

Result<ArchiveMembers> ArchiveMembers::read(ByteSource& tar, const BlobStore& blobs,
                                            const std::function<void(const SpooledBlob&)>& on_file) {
  ArchiveMembers out;
  auto plain = compress::Decompressor::open(tar);
  if (!plain) return not_an_archive(plain.error());
  tar::Reader reader(**plain);
  while (true) {
    auto next = reader.next();
    if (!next) return not_an_archive(next.error());
    if (!*next) break;
    const tar::Entry& entry = **next;
    std::string name = clean(entry.path);
    if (name.empty() || entry.type == tar::EntryType::kDirectory) continue;
    if (out.files_.size() + out.links_.size() >= kMaxMembers)
      return fail(ErrorKind::kInvalid, "image archive: more than %zu members", kMaxMembers);
    if (entry.type == tar::EntryType::kFile) {
      auto spooled = blobs.spool(reader);
      if (!spooled) return not_an_archive(spooled.error());
      if (on_file) on_file(*spooled);
      out.links_.erase(name);
      out.files_[name] = std::move(*spooled);
    } else if (entry.type == tar::EntryType::kSymlink) {
      // Old docker-archives link equal layers to one file: "../<id>/layer.tar".
      out.links_[name] = clean(directory_of(name) + entry.link);
    } else if (entry.type == tar::EntryType::kHardLink) {
      out.links_[name] = clean(entry.link);
    }
  }
  return out;
}

SpooledBlob* ArchiveMembers::find(const std::string& wanted) {
  std::string name = clean(wanted);
  for (int hops = 0; hops < 8; ++hops) {
    if (auto file = files_.find(name); file != files_.end()) return &file->second;
    auto link = links_.find(name);
    if (link == links_.end()) return nullptr;
    name = link->second;
  }
  return nullptr;
}

Result<std::string> ArchiveMembers::text(const std::string& name, size_t limit) {
  SpooledBlob* member = find(name);
  if (!member) return fail(ErrorKind::kInvalid, "image archive: %s is missing", quoted(name).c_str());
  if (member->size() > limit)
    return fail(ErrorKind::kInvalid, "image archive: %s is larger than %zu bytes", quoted(name).c_str(), limit);
  return member->read(limit);
}

std::string ArchiveMembers::blob_name(const std::string& digest) {
  return digest::is_valid(digest) ? "blobs/sha256/" + std::string(digest::hex_of(digest)) : "";
}

}  // namespace caisson::image
