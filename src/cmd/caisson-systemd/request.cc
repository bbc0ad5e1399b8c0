// SPDX-License-Identifier: Apache-2.0
#include "request.h"

#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/text.h"

namespace caisson::systemd {

namespace {

constexpr uint64_t kMaxProperties = 1024, kMaxValues = 65536;

class Fields {
 public:
  explicit Fields(int fd) : fd_(fd) {}

  Result<std::string> next() {
    for (;;) {
      size_t end = buffer_.find('\0', at_);
      if (end != std::string::npos) {
        std::string field = buffer_.substr(at_, end - at_);
        at_ = end + 1;
        return field;
      }
      if (buffer_.size() > kMaxRequest) return fail(ErrorKind::kInvalid, "the request is too long");
      char chunk[65536];
      ssize_t got = read(fd_, chunk, sizeof chunk);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail_errno("read the request");
      if (got == 0) return fail(ErrorKind::kInvalid, "the request ends early");
      buffer_.append(chunk, static_cast<size_t>(got));
    }
  }

  Result<uint64_t> number(uint64_t most) {
    auto text = TRY(next());
    auto value = parse_uint(text);
    if (!value || *value > most)
      return fail(ErrorKind::kInvalid, "the request has %s where a number belongs", quoted(text).c_str());
    return *value;
  }

 private:
  int fd_;
  std::string buffer_;
  size_t at_ = 0;
};

}  // namespace

Result<std::vector<Property>> read_request(int fd) {
  Fields fields(fd);
  std::vector<Property> out(TRY(fields.number(kMaxProperties)));
  for (auto& property : out) {
    property.name = TRY(fields.next());
    auto signature = TRY(fields.next());
    property.array = signature.size() == 2 && signature[0] == 'a';
    property.type = signature.empty() ? 0 : signature.back();
    if ((signature.size() != 1 && !property.array) ||
        std::string_view("btsxdiuqny").find(property.type) == std::string_view::npos)
      return fail(ErrorKind::kInvalid, "property '%s' has the unknown type %s", property.name.c_str(),
                  quoted(signature).c_str());
    uint64_t count = TRY(fields.number(kMaxValues));
    if (!property.array && count != 1)
      return fail(ErrorKind::kInvalid, "property '%s' has no single value", property.name.c_str());
    for (uint64_t i = 0; i < count; ++i) property.values.push_back(TRY(fields.next()));
  }
  return out;
}

}  // namespace caisson::systemd
