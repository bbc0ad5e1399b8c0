// SPDX-License-Identifier: Apache-2.0
#include "resources.h"

#include <cctype>
#include <cstdlib>
#include <limits>

#include "base/text.h"

namespace caisson::oci {

namespace {

// A decimal number with a fraction, as a multiple of `unit`; the digits behind its end stay in `text`.
std::optional<double> take_decimal(std::string_view& text) {
  size_t length = 0;
  bool point = false, digit = false;
  while (length < text.size() &&
         (isdigit(static_cast<unsigned char>(text[length])) || (text[length] == '.' && !point))) {
    if (text[length] == '.')
      point = true;
    else
      digit = true;
    ++length;
  }
  if (!digit || length > 32) return std::nullopt;
  double value = strtod(std::string(text.substr(0, length)).c_str(), nullptr);
  text.remove_prefix(length);
  return value;
}

std::optional<int64_t> scaled(double value, double unit) {
  value *= unit;
  if (!(value >= 0) || value >= 9.2e18) return std::nullopt;
  return static_cast<int64_t>(value);
}

std::unexpected<Error> invalid(const char* flag, const std::string& text, const char* what) {
  return fail(ErrorKind::kInvalid, "invalid value for %s: invalid %s: %s", flag, what, quoted(text).c_str());
}

Result<std::optional<int64_t>> number(const Parsed& flags, const char* name, bool may_be_negative) {
  const std::string* text = flags.find(name);
  if (!text || text->empty()) return std::nullopt;
  auto value = parse_int(*text);
  if (!value || (*value < 0 && !may_be_negative)) return invalid(name, *text, "number");
  return value;
}

Result<std::optional<uint64_t>> count(const Parsed& flags, const char* name) {
  auto value = TRY(number(flags, name, false));
  return value ? std::optional(static_cast<uint64_t>(*value)) : std::nullopt;
}

Result<std::optional<int64_t>> size(const Parsed& flags, const char* name) {
  const std::string* text = flags.find(name);
  if (!text || text->empty()) return std::nullopt;
  if (*text == "-1") return -1;
  auto value = parse_size(*text);
  if (!value) return invalid(name, *text, "size");
  return value;
}

}  // namespace

std::optional<int64_t> parse_size(std::string_view text) {
  auto value = take_decimal(text);
  if (!value) return std::nullopt;
  if (text.starts_with(" ")) text.remove_prefix(1);
  std::string unit = to_lower(text);
  if (unit.ends_with("b")) unit.pop_back();
  if (unit.ends_with("i") && unit.size() > 1) unit.pop_back();
  if (unit.empty()) return scaled(*value, 1);
  if (unit.size() > 1) return std::nullopt;
  double factor = 1024;
  for (char letter : std::string_view("kmgtp")) {
    if (unit[0] == letter) return scaled(*value, factor);
    factor *= 1024;
  }
  return std::nullopt;
}

std::optional<int64_t> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    double ns;
  };
  // The longer names first: "m" is the beginning of "ms".
  static constexpr Unit kUnits[] = {{"ns", 1},  {"us", 1e3}, {"µs", 1e3},  {"ms", 1e6},
                                    {"s", 1e9}, {"m", 6e10}, {"h", 3.6e12}};
  if (text == "0") return 0;
  int64_t total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    auto value = take_decimal(text);
    if (!value) return std::nullopt;
    const Unit* unit = nullptr;
    for (const auto& candidate : kUnits)
      if (!unit && text.starts_with(candidate.name)) unit = &candidate;
    if (!unit) return std::nullopt;
    text.remove_prefix(unit->name.size());
    auto part = scaled(*value, unit->ns);
    if (!part || *part > std::numeric_limits<int64_t>::max() - total) return std::nullopt;
    total += *part;
  }
  return total;
}

Result<spec::OciResources> resources_of_flags(const Parsed& flags) {
  spec::OciResources out;
  spec::OciMemory memory;
  memory.limit = TRY(size(flags, "memory"));
  memory.reservation = TRY(size(flags, "memory-reservation"));
  memory.swap = TRY(size(flags, "memory-swap"));
  TRY(size(flags, "kernel-memory"));
  TRY(size(flags, "kernel-memory-tcp"));
  out.memory = memory;

  spec::OciCpu cpu;
  cpu.shares = TRY(count(flags, "cpu-share"));
  cpu.quota = TRY(number(flags, "cpu-quota", true));
  cpu.period = TRY(count(flags, "cpu-period"));
  cpu.burst = TRY(count(flags, "cpu-burst"));
  cpu.realtime_runtime = TRY(number(flags, "cpu-rt-runtime", true));
  cpu.realtime_period = TRY(count(flags, "cpu-rt-period"));
  cpu.idle = TRY(number(flags, "cpu-idle", false));
  cpu.cpus = flags.value("cpuset-cpus");
  cpu.mems = flags.value("cpuset-mems");
  out.cpu = cpu;

  if (auto limit = TRY(number(flags, "pids-limit", true))) out.pids = spec::OciPids{*limit};
  if (auto weight = TRY(number(flags, "blkio-weight", false)); weight && *weight != 0) {
    if (*weight < 10 || *weight > 1000)
      return invalid("blkio-weight", flags.value("blkio-weight"), "weight, the range is from 10 to 1000");
    out.block_io.emplace().weight = static_cast<uint16_t>(*weight);
  }
  return out;
}

}  // namespace caisson::oci
