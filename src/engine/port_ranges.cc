// SPDX-License-Identifier: Apache-2.0
#include "engine/port_ranges.h"

#include <algorithm>
#include <tuple>

#include "base/text.h"

namespace caisson::engine {

namespace {

struct Range {
  unsigned first = 0, last = 0;
  unsigned size() const { return last - first + 1; }
};

std::optional<Range> parse_range(std::string_view text) {
  auto pair = split_once(text, '-');
  auto first = parse_uint(pair ? std::string_view(pair->first) : text), last = pair ? parse_uint(pair->second) : first;
  if (!first || !last || *first > *last || *last > 65535) return std::nullopt;
  return Range{static_cast<unsigned>(*first), static_cast<unsigned>(*last)};
}

std::string range_text(Range range) {
  return range.first == range.last ? std::to_string(range.first) : format("%u-%u", range.first, range.last);
}

struct Key {
  std::string protocol;
  Range range;
  bool operator<(const Key& other) const {
    return std::tie(protocol, range.first) < std::tie(other.protocol, other.range.first);
  }
  std::string text() const { return range_text(range) + "/" + protocol; }
};

std::optional<Key> parse_key(const std::string& text) {
  auto parts = split_once(text, '/');
  auto range = parse_range(parts ? parts->first : text);
  if (!range || range->first == 0) return std::nullopt;
  return Key{parts ? parts->second : "tcp", *range};
}

using Bindings = std::vector<spec::PortBinding>;

// Do the host ports of `next` go on where those of `range`, that is `count` ports long, end?
bool goes_on(const Bindings& range, unsigned count, const Bindings& next) {
  if (range.empty() || range.size() != next.size()) return false;
  for (size_t i = 0; i < range.size(); ++i) {
    auto own = parse_range(range[i].host_port), other = parse_range(next[i].host_port);
    // One container port at any of several host ports is no range of container ports.
    if (!own || !other || own->first == 0 || own->size() != count || other->size() != 1) return false;
    if (range[i].host_ip != next[i].host_ip || own->last + 1 != other->first) return false;
  }
  return true;
}

}  // namespace

void compress_ports(spec::PortMap& ports) {
  std::vector<std::pair<Key, std::optional<Bindings>>> sorted;
  spec::PortMap out;
  for (auto& [text, bindings] : ports)
    if (auto key = parse_key(text))
      sorted.emplace_back(std::move(*key), std::move(bindings));
    else
      out.emplace(text, std::move(bindings));
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < sorted.size();) {
    auto& [key, bindings] = sorted[i++];
    while (bindings && i < sorted.size()) {
      auto& [next, more] = sorted[i];
      if (next.protocol != key.protocol || next.range.first != key.range.last + 1 || next.range.size() != 1) break;
      if (!more || !goes_on(*bindings, key.range.size(), *more)) break;
      key.range.last = next.range.first;
      for (size_t b = 0; b < bindings->size(); ++b) {
        auto host = parse_range((*bindings)[b].host_port);
        (*bindings)[b].host_port = range_text({host->first, host->last + 1});
      }
      ++i;
    }
    out[key.text()] = std::move(bindings);
  }
  ports = std::move(out);
}

spec::PortMap expand_ports(const spec::PortMap& ports) {
  spec::PortMap out;
  for (const auto& [text, bindings] : ports) {
    auto key = parse_key(text);
    if (!key || key->range.size() == 1) {
      out.emplace(text, bindings);
      continue;
    }
    for (unsigned at = 0; at < key->range.size(); ++at) {
      auto& list = out[format("%u/%s", key->range.first + at, key->protocol.c_str())];
      if (!bindings) continue;
      list.emplace();
      for (const auto& binding : *bindings) {
        auto host = parse_range(binding.host_port);
        list->push_back({binding.host_ip, host ? std::to_string(host->first + at) : binding.host_port});
      }
    }
  }
  return out;
}

void compress_exposed(spec::StringSet& ports) {
  std::vector<Key> sorted;
  spec::StringSet out;
  for (const auto& [text, unused] : ports)
    if (auto key = parse_key(text))
      sorted.push_back(std::move(*key));
    else
      out[text];
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size();) {
    Key key = sorted[i++];
    while (i < sorted.size() && sorted[i].protocol == key.protocol && sorted[i].range.first <= key.range.last + 1)
      key.range.last = std::max(key.range.last, sorted[i++].range.last);
    out[key.text()];
  }
  ports = std::move(out);
}

spec::StringSet expand_exposed(const spec::StringSet& ports) {
  spec::StringSet out;
  for (const auto& [text, unused] : ports) {
    auto key = parse_key(text);
    if (!key || key->range.size() == 1) {
      out[text];
      continue;
    }
    for (unsigned number = key->range.first; number <= key->range.last; ++number)
      out[format("%u/%s", number, key->protocol.c_str())];
  }
  return out;
}

std::string port_text(const network::PortMapping& port) {
  std::string text =
      format("%s/%u/%s/%u", port.protocol.c_str(), port.container_port, port.host_ip.c_str(), port.host_port);
  return port.count > 1 ? text + format("/%u", port.count) : text;
}

std::optional<network::PortMapping> parse_port_text(const std::string& text) {
  auto parts = split(text, '/');
  if (parts.size() != 4 && parts.size() != 5) return std::nullopt;
  auto inner = parse_uint(parts[1]), outer = parse_uint(parts[3]),
       count = parts.size() == 5 ? parse_uint(parts[4]) : std::optional<uint64_t>(1);
  if (!inner || !outer || !count || *inner > 65535 || *outer > 65535 || *count < 1 || *count > 65535)
    return std::nullopt;
  return network::PortMapping{parts[0], static_cast<uint16_t>(*inner), parts[2], static_cast<uint16_t>(*outer),
                              static_cast<uint16_t>(*count)};
}

network::PortMapping part_of(const network::PortMapping& port, unsigned first, unsigned count) {
  auto part = port;
  part.container_port = static_cast<uint16_t>(port.container_port + first);
  part.host_port = static_cast<uint16_t>(port.host_port + first);
  part.count = static_cast<uint16_t>(count);
  return part;
}

}  // namespace caisson::engine
