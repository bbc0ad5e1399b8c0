// SPDX-License-Identifier: Apache-2.0
// SHA-256 over OpenSSL and the "sha256:<64 hex>" text form of the image formats.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace caisson::digest {

class Hasher {
 public:
  Hasher();
  Hasher(Hasher&&) noexcept;
  ~Hasher();
  void update(std::string_view data);
  std::string finish();  // "sha256:<hex>"; the hasher then starts afresh

 private:
  struct FreeContext {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, FreeContext> context_;
};

std::string sha256(std::string_view data);  // "sha256:<hex>"
// "sha256:" and exactly 64 lower-case hex digits.
bool is_valid(std::string_view digest);
// The hex part of a valid digest: a safe file name.
std::string_view hex_of(std::string_view digest);

// Hashes and counts what passes through to `inner`.
class HashingSource : public ByteSource {
 public:
  explicit HashingSource(ByteSource& inner) : inner_(inner) {}
  Result<size_t> read(std::span<char> buffer) override;
  std::string finish() { return hasher_.finish(); }
  uint64_t bytes() const { return bytes_; }

 private:
  ByteSource& inner_;
  Hasher hasher_;
  uint64_t bytes_ = 0;
};

class HashingSink : public ByteSink {
 public:
  explicit HashingSink(ByteSink& inner) : inner_(inner) {}
  Result<> write(std::string_view data) override;
  std::string finish() { return hasher_.finish(); }
  uint64_t bytes() const { return bytes_; }

 private:
  ByteSink& inner_;
  Hasher hasher_;
  uint64_t bytes_ = 0;
};

}  // namespace caisson::digest
