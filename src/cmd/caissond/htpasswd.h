// SPDX-License-Identifier: Apache-2.0
// A file of `user:hash` lines, as htpasswd makes it, for the registry server. Hashes are whatever crypt(3) knows,
// bcrypt above all. Thread-safe; checking takes the time that the hash was made for, one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"

namespace caisson {

class Htpasswd {
 public:
  // kInvalid names the line.
  static Result<Htpasswd> parse(const std::string& text);
  bool check(const std::string& user, const std::string& password);

 private:
  std::map<std::string, std::string> hashes_;  // by user
  struct Known {
    std::mutex mutex;
    std::map<std::string, int64_t> until;  // digests of what was right, so that not every blob costs a bcrypt
  };
  std::shared_ptr<Known> known_ = std::make_shared<Known>();
};

}  // namespace caisson
