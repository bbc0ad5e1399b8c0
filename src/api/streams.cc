// SPDX-License-Identifier: Apache-2.0
#include "api/streams.h"

#include "base/clock.h"
#include "base/text.h"

namespace caisson::api {

std::string stream_content_type(const Call& call, bool tty) {
  return !tty && call.version >= 42 ? "application/vnd.docker.multiplexed-stream" : "application/vnd.docker.raw-stream";
}

Result<monitor::Attachment> hijack(const Call& call, bool tty) {
  bool upgrade = call.request().headers.find("upgrade").has_value();
  // DOCKER-QUIRK: without an upgrade the type is that of old.
  std::string type = upgrade ? stream_content_type(call, tty) : "application/vnd.docker.raw-stream";
  auto connection = call.exchange->take_over();
  TRY_CTX(http::write_upgrade_response(connection->fd(), upgrade, type), "answering the attach request");
  auto raw = connection->release();
  monitor::Attachment attachment;
  attachment.socket = std::move(raw.fd);
  attachment.leftover = std::move(raw.leftover);
  return attachment;
}

Result<std::string> parse_detach_keys(const std::string& text) {
  if (text.empty()) return std::string("\x10\x11");
  if (text.size() > 256) return fail(ErrorKind::kInvalid, "Invalid detach keys: more than 256 characters");
  std::string keys;
  for (const auto& word : split(text, ',')) {
    if (word.size() == 1 && static_cast<unsigned char>(word[0]) < 128) {
      keys += word;
      continue;
    }
    static constexpr std::string_view symbols = "@abcdefghijklmnopqrstuvwxyz[\\]^_";
    size_t at = word.size() == 6 && to_lower(word).starts_with("ctrl-") ? symbols.find(to_lower(word)[5])
                                                                        : std::string_view::npos;
    if (at == std::string_view::npos)
      return fail(ErrorKind::kInvalid, "Invalid detach keys (%s) provided: unknown character inside sequence: %s",
                  text.c_str(), quoted(word).c_str());
    keys += static_cast<char>(at);
  }
  return keys;
}

Result<int64_t> parse_time(const std::string& text) {
  if (text.empty() || text == "0") return 0;
  if (auto stamp = parse_rfc3339(text)) return *stamp;
  auto parts = split_once(text, '.');
  auto seconds = parse_int(parts ? parts->first : text);
  if (!seconds || *seconds > 1LL << 33 || *seconds < -(1LL << 33))
    return fail(ErrorKind::kInvalid, "invalid value for time: %s", quoted(text).c_str());
  int64_t nanoseconds = 0;
  if (parts) {
    std::string digits = (parts->second + "000000000").substr(0, 9);
    auto value = parse_uint(digits);
    if (!value) return fail(ErrorKind::kInvalid, "invalid value for time: %s", quoted(text).c_str());
    nanoseconds = static_cast<int64_t>(*value);
  }
  return *seconds * 1000000000 + nanoseconds;
}

std::optional<WindowSize> window_size(const Call& call) {
  bool good;
  auto rows = call.number("h", good);
  if (!good) return std::nullopt;
  auto columns = call.number("w", good);
  if (!good) return std::nullopt;
  if (!rows || !columns || *rows < 0 || *columns < 0 || *rows > 65535 || *columns > 65535) {
    call.reply_error(400, "invalid window size: h and w must be between 0 and 65535");
    return std::nullopt;
  }
  return WindowSize{static_cast<uint16_t>(*rows), static_cast<uint16_t>(*columns)};
}

}  // namespace caisson::api
