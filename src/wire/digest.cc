// SPDX-License-Identifier: Apache-2.0
#include "wire/digest.h"

#include <openssl/evp.h>

#include "base/text.h"

namespace caisson::digest {

constexpr std::string_view kPrefix = "sha256:";

void Hasher::FreeContext::operator()(void* context) const { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context)); }

template <class Deleter>
static EVP_MD_CTX* raw(const std::unique_ptr<void, Deleter>& context) {
  return static_cast<EVP_MD_CTX*>(context.get());
}

Hasher::Hasher() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(raw(context_), EVP_sha256(), nullptr); }
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::update(std::string_view data) { EVP_DigestUpdate(raw(context_), data.data(), data.size()); }

std::string Hasher::finish() {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(raw(context_), out, &size);
  EVP_DigestInit_ex(raw(context_), EVP_sha256(), nullptr);
  return std::string(kPrefix) + to_hex(out, size);
}

std::string sha256(std::string_view data) {
  Hasher hasher;
  hasher.update(data);
  return hasher.finish();
}

bool is_valid(std::string_view digest) {
  if (digest.size() != kPrefix.size() + 64 || !digest.starts_with(kPrefix)) return false;
  for (char c : digest.substr(kPrefix.size()))
    if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return false;
  return true;
}

std::string_view hex_of(std::string_view digest) { return digest.substr(kPrefix.size()); }

Result<size_t> HashingSource::read(std::span<char> buffer) {
  size_t got = TRY(inner_.read(buffer));
  hasher_.update({buffer.data(), got});
  bytes_ += got;
  return got;
}

Result<> HashingSink::write(std::string_view data) {
  hasher_.update(data);
  bytes_ += data.size();
  return inner_.write(data);
}

}  // namespace caisson::digest
