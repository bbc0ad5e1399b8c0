// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_http2.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::registry;

namespace {

// A server that sends its settings and then the same frame for as long as somebody reads.
class ChattyServer : public http::Transport {
 public:
  explicit ChattyServer(std::string frame) : frame_(std::move(frame)) {}
  Result<size_t> read(std::span<char> buffer) override {
    if (++reads_ > 10'000) return size_t{0};
    std::string piece = reads_ == 1 ? std::string("\0\0\0\4\0\0\0\0\0", 9) : frame_;
    return piece.copy(buffer.data(), buffer.size());
  }
  Result<> write(std::string_view) override { return {}; }
  int fd() const override { return -1; }
  UniqueFd release() override { return {}; }

 private:
  std::string frame_;
  int reads_ = 0;
};

ErrorKind kind_of_answer(const std::string& frame) {
  auto connection = open_http2(std::make_unique<ChattyServer>(frame), "h", 0).value();
  auto head = connection->open({.method = "GET", .target = "/v2/"});
  REQUIRE(!head);
  return head.error().kind;
}

}  // namespace

TEST_CASE("frames that say nothing are no answer") {
  CHECK(kind_of_answer(std::string("\0\0\10\6\0\0\0\0\0", 9) + "12345678") == ErrorKind::kTimeout);
  CHECK(kind_of_answer(std::string("\0\0\4\10\0\0\0\0\0\0\0\0\1", 13)) == ErrorKind::kTimeout);
}
