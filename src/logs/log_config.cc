// SPDX-License-Identifier: Apache-2.0
#include "logs/log_config.h"

#include <array>
#include <cstring>

namespace caisson::logs {

namespace {

// Both ends are of one build and on one machine: numbers as they lie in memory.
struct Fixed {
  int64_t max_size, max_buffer;
  int32_t max_files, facility;
  uint8_t compress, cache, non_blocking, format;
  uint32_t attrs;
};

void put_text(std::string& out, std::string_view text) {
  auto size = static_cast<uint32_t>(text.size());
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  out += text;
}

bool take_text(std::string_view& rest, std::string& text) {
  uint32_t size;
  if (rest.size() < sizeof size) return false;
  memcpy(&size, rest.data(), sizeof size);
  rest.remove_prefix(sizeof size);
  if (rest.size() < size) return false;
  text = rest.substr(0, size);
  rest.remove_prefix(size);
  return true;
}

template <class Config>
auto texts(Config& config) {
  return std::to_array({&config.driver, &config.path, &config.tag, &config.address, &config.container_id,
                        &config.container_name, &config.image_name});
}

}  // namespace

std::string encode_config(const LogConfig& config) {
  Fixed fixed{};
  fixed.max_size = config.max_size;
  fixed.max_buffer = config.max_buffer;
  fixed.max_files = config.max_files;
  fixed.facility = config.facility;
  fixed.compress = config.compress;
  fixed.cache = config.cache;
  fixed.non_blocking = config.non_blocking;
  fixed.format = static_cast<uint8_t>(config.format);
  fixed.attrs = static_cast<uint32_t>(config.attrs.size());
  std::string out(reinterpret_cast<const char*>(&fixed), sizeof fixed);
  for (auto* text : texts(config)) put_text(out, *text);
  for (const auto& [key, value] : config.attrs) {
    put_text(out, key);
    put_text(out, value);
  }
  return out;
}

Result<LogConfig> decode_config(std::string_view text) {
  auto malformed = [] { return fail(ErrorKind::kCorrupt, "malformed log configuration"); };
  Fixed fixed;
  if (text.size() < sizeof fixed) return malformed();
  memcpy(&fixed, text.data(), sizeof fixed);
  text.remove_prefix(sizeof fixed);
  if (fixed.compress > 1 || fixed.cache > 1 || fixed.non_blocking > 1 || fixed.format > 3 || fixed.attrs > text.size())
    return malformed();
  LogConfig config;
  config.max_size = fixed.max_size;
  config.max_buffer = fixed.max_buffer;
  config.max_files = fixed.max_files;
  config.facility = fixed.facility;
  config.compress = fixed.compress;
  config.cache = fixed.cache;
  config.non_blocking = fixed.non_blocking;
  config.format = static_cast<SyslogFormat>(fixed.format);
  for (auto* field : texts(config))
    if (!take_text(text, *field)) return malformed();
  for (uint32_t i = 0; i < fixed.attrs; ++i) {
    auto& [key, value] = config.attrs.emplace_back();
    if (!take_text(text, key) || !take_text(text, value)) return malformed();
  }
  if (!text.empty()) return malformed();
  return config;
}

}  // namespace caisson::logs
