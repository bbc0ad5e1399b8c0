// SPDX-License-Identifier: Apache-2.0
#include "cmd/caissond/htpasswd.h"

#include <crypt.h>

#include <memory>

#include "base/clock.h"
#include "base/text.h"
#include "wire/digest.h"

namespace caisson {

namespace {
constexpr int64_t kKnownNs = int64_t{300} * 1'000'000'000;
constexpr size_t kMaxKnown = 256;
constexpr size_t kMaxPassword = 512;

bool is_equal(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference = static_cast<unsigned char>(difference | (a[i] ^ b[i]));
  return difference == 0;
}
}  // namespace

Result<Htpasswd> Htpasswd::parse(const std::string& text) {
  Htpasswd out;
  int number = 0;
  for (const auto& line : split(text, '\n')) {
    ++number;
    std::string_view entry = trim(line);
    if (entry.empty() || entry.starts_with('#')) continue;
    auto pair = split_once(entry, ':');
    if (!pair || pair->first.empty() || pair->second.empty())
      return fail(ErrorKind::kInvalid, "password file: line %d is no 'user:hash'", number);
    if (!pair->second.starts_with('$') || pair->second.starts_with("$apr1$"))
      return fail(ErrorKind::kInvalid,
                  "password file: line %d: this form of hash is not supported, use bcrypt (htpasswd -B)", number);
    out.hashes_[pair->first] = pair->second;
  }
  if (out.hashes_.empty()) return fail(ErrorKind::kInvalid, "password file: it names nobody");
  return out;
}

bool Htpasswd::check(const std::string& user, const std::string& password) {
  auto found = hashes_.find(user);
  if (password.size() > kMaxPassword) return false;
  // Somebody unknown takes as long as a wrong password.
  const std::string& hash = found == hashes_.end() ? hashes_.begin()->second : found->second;
  std::string key = digest::sha256(user + std::string(1, '\0') + password + std::string(1, '\0') + hash);
  std::lock_guard lock(known_->mutex);
  int64_t now = monotonic_ns();
  if (auto known = known_->until.find(key); known != known_->until.end() && known->second > now)
    return found != hashes_.end();
  auto data = std::make_unique<crypt_data>();
  const char* made = crypt_r(password.c_str(), hash.c_str(), data.get());
  if (!made || !is_equal(made, hash) || found == hashes_.end()) return false;
  std::erase_if(known_->until, [&](const auto& entry) { return entry.second <= now; });
  if (known_->until.size() < kMaxKnown) known_->until[key] = now + kKnownNs;
  return true;
}

}  // namespace caisson
