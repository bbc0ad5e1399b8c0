// SPDX-License-Identifier: Apache-2.0
// Durable holds: blobs that no image names and that stay all the same, as somebody named in the database wants
// them. A pull holds what it has finished until its image is there; the registry server what was pushed to it.
#include "base/clock.h"
#include "base/text.h"
#include "image/disk_image_store.h"
#include "sys/files.h"
#include "wire/digest.h"

namespace caisson::image {

namespace {

// One for every start of the machine: what was not flushed before it may be damaged.
std::string this_boot() {
  auto text = sys::read_file("/proc/sys/kernel/random/boot_id", 64);
  return text ? std::string(trim(*text)) : "";
}

}  // namespace

Result<> DiskImageStore::open_holds() {
  static const std::vector<std::string> kSchema = {
      "CREATE TABLE held_blobs(digest TEXT NOT NULL, holder TEXT NOT NULL, since_ns INTEGER NOT NULL, boot TEXT NOT "
      "NULL, PRIMARY KEY(digest, holder))"};
  TRY(database_.migrate("blob-holds", kSchema));
  return expire_holds(now_ns());
}

Result<> DiskImageStore::expire_holds(int64_t now) {
  TRY(database_.execute("DELETE FROM held_blobs WHERE boot<>'' AND boot<>?1", {this_boot()}, db::Durability::kRelaxed));
  return database_.execute("DELETE FROM held_blobs WHERE holder=?1 AND (since_ns<?2 OR since_ns>?3)",
                           {std::string(kPullHolder), now - kPullHoldNs, now + kPullHoldNs}, db::Durability::kRelaxed);
}

Result<> DiskImageStore::hold_blobs(const std::vector<std::string>& digests, const std::string& holder, Hold how) {
  bool is_lasting = how == Hold::kLasting;
  if (is_lasting) TRY(flush());
  return database_.transaction(
      [&]() -> Result<> {
        for (const auto& digest : digests)
          TRY(database_.execute(
              "INSERT OR REPLACE INTO held_blobs(digest, holder, since_ns, boot) VALUES(?1, ?2, ?3, ?4)",
              {digest, holder, now_ns(), is_lasting ? std::string() : this_boot()}));
        return {};
      },
      is_lasting ? db::Durability::kFull : db::Durability::kRelaxed);
}

Result<> DiskImageStore::release_blob(const std::string& digest, const std::string& holder) {
  return database_.execute("DELETE FROM held_blobs WHERE digest=?1 AND holder=?2", {digest, holder},
                           db::Durability::kRelaxed);
}

Result<> DiskImageStore::adopt_blob(const std::string& digest, const std::string& path) {
  if (!digest::is_valid(digest)) return fail(ErrorKind::kInvalid, "%s is no digest", quoted(digest).c_str());
  protect_blob(digest);
  if (blobs_.has(digest)) return sys::remove_file(path);
  TRY(blobs_.take_in(digest, path));
  ++published_;
  return {};
}

Result<std::set<std::string>> DiskImageStore::held_blobs() {
  std::set<std::string> out;
  TRY(database_.query("SELECT digest FROM held_blobs", {}, [&](const db::Row& row) { out.insert(row.text(0)); }));
  return out;
}

}  // namespace caisson::image
