// SPDX-License-Identifier: Apache-2.0
// Limits and annotations as properties of systemd's units (systemd.resource-control(5)).
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/text.h"
#include "sys/cgroup_details.h"
#include "sys/systemd_cgroup.h"

namespace caisson::sys {

namespace {

constexpr size_t kMaxValues = 4096;

SystemdProperty number(const char* name, uint64_t value) { return {name, "t", {std::to_string(value)}}; }

// -1 is the largest number there is, which systemd takes for infinity.
SystemdProperty limit(const char* name, int64_t value) {
  return number(name, value < 0 ? UINT64_MAX : static_cast<uint64_t>(value));
}

// --- GVariant's text format, as far as unit properties have it --------------------------------------------

struct Word {
  const char* name;
  char type;
};
constexpr Word kTypes[] = {{"boolean", 'b'}, {"byte", 'y'},  {"int16", 'n'},  {"uint16", 'q'}, {"int32", 'i'},
                           {"uint32", 'u'},  {"int64", 'x'}, {"uint64", 't'}, {"double", 'd'}, {"string", 's'}};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  bool value(SystemdProperty& out) {
    char type = 0;
    space();
    if (text_.starts_with('@')) {
      text_.remove_prefix(1);
      bool array = text_.starts_with('a');
      if (array) text_.remove_prefix(1);
      if (text_.empty()) return false;
      type = text_[0];
      if (std::none_of(std::begin(kTypes), std::end(kTypes), [&](auto& word) { return word.type == type; }))
        return false;
      text_.remove_prefix(1);
      space();
      if (array != text_.starts_with('[')) return false;
    }
    bool array = text_.starts_with('[');
    if (array ? !list(type, out) : !item(type, out)) return false;
    space();
    out.signature = (array ? "a" : "") + std::string(1, type);
    return text_.empty() && type != 0;
  }

 private:
  void space() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\t')) text_.remove_prefix(1);
  }

  bool list(char& type, SystemdProperty& out) {
    text_.remove_prefix(1);
    for (;;) {
      space();
      if (text_.starts_with(']')) break;
      if (!out.values.empty()) {
        if (!text_.starts_with(',')) return false;
        text_.remove_prefix(1);
        space();
      }
      if (out.values.size() == kMaxValues || !item(type, out)) return false;
    }
    text_.remove_prefix(1);
    return true;
  }

  bool item(char& type, SystemdProperty& out) {
    space();
    for (const auto& word : kTypes) {
      std::string_view name = word.name;
      if (!text_.starts_with(name) || text_.size() <= name.size() || text_[name.size()] != ' ') continue;
      if (type && type != word.type) return false;
      type = word.type;
      text_.remove_prefix(name.size());
      space();
      break;
    }
    if (text_.starts_with('\'') || text_.starts_with('"')) {
      if (type && type != 's') return false;
      type = 's';
      return string(out);
    }
    size_t end = std::min(text_.find_first_of(", \t]"), text_.size());
    std::string word(text_.substr(0, end));
    text_.remove_prefix(end);
    if (word == "true" || word == "false") {
      if (type && type != 'b') return false;
      type = 'b';
      out.values.push_back(word == "true" ? "1" : "0");
      return true;
    }
    if (!type) type = word.find_first_of(".eE") != std::string::npos ? 'd' : 'i';
    return type != 'b' && type != 's' && numeric(type, word, out);
  }

  bool string(SystemdProperty& out) {
    char quote = text_[0];
    std::string value;
    for (size_t i = 1; i < text_.size(); ++i) {
      char c = text_[i];
      if (c == quote) {
        text_.remove_prefix(i + 1);
        out.values.push_back(value);
        return true;
      }
      if (c == '\\') {
        if (++i == text_.size()) return false;
        c = text_[i] == 'n' ? '\n' : text_[i] == 't' ? '\t' : text_[i];
      }
      if (c == '\0') return false;
      value += c;
    }
    return false;
  }

  static bool numeric(char type, const std::string& word, SystemdProperty& out) {
    if (type == 'd') {
      double value = 0;
      auto done = std::from_chars(word.data(), word.data() + word.size(), value);
      if (done.ec != std::errc() || done.ptr != word.data() + word.size()) return false;
      out.values.push_back(word);
      return true;
    }
    if (type == 't' || type == 'u' || type == 'q' || type == 'y') {
      auto value = parse_uint(word);
      uint64_t most = type == 't' ? UINT64_MAX : type == 'u' ? UINT32_MAX : type == 'q' ? UINT16_MAX : UINT8_MAX;
      if (!value || *value > most) return false;
      out.values.push_back(std::to_string(*value));
      return true;
    }
    auto value = parse_int(word);
    int64_t most = type == 'x' ? INT64_MAX : type == 'i' ? INT32_MAX : INT16_MAX;
    if (!value || *value > most || *value < -most - 1) return false;
    out.values.push_back(std::to_string(*value));
    return true;
  }

  std::string_view text_;
};

Result<> seconds_to_microseconds(SystemdProperty& property) {
  double seconds = -1;
  if (property.values.size() == 1 && property.signature.size() == 1 &&
      std::string_view("tuqyxind").find(property.signature) != std::string_view::npos)
    std::from_chars(property.values[0].data(), property.values[0].data() + property.values[0].size(), seconds);
  if (!(seconds >= 0 && seconds < 1e13))
    return fail(ErrorKind::kInvalid, "'%sSec' takes seconds", property.name.c_str());
  property.name += "USec";
  property.values = {std::to_string(static_cast<uint64_t>(std::llround(seconds * 1e6)))};
  property.signature = "t";
  return {};
}

// --- limits ---------------------------------------------------------------------------------------------

void add_quota(std::vector<SystemdProperty>& out, int64_t quota, uint64_t period) {
  if (period) out.push_back(number("CPUQuotaPeriodUSec", period));
  if (!quota && !period) return;
  uint64_t per_second = UINT64_MAX;
  if (quota > 0) {
    double exact = static_cast<double>(quota) * 1e6 / static_cast<double>(period ? period : 100000);
    // systemd counts in percents: rounded up, so that groups below get what they were promised.
    per_second = static_cast<uint64_t>(std::ceil(exact / 10000)) * 10000;
  }
  out.push_back(number("CPUQuotaPerSecUSec", per_second));
}

Result<> add_cpuset(std::vector<SystemdProperty>& out, const char* name, const std::string& text) {
  if (text.empty()) return {};
  auto list = parse_cpu_list(text);
  if (!list || list->empty()) return fail(ErrorKind::kInvalid, "cpuset %s is no list of numbers", quoted(text).c_str());
  std::vector<uint8_t> bits;
  for (uint16_t cpu : *list) {
    if (bits.size() <= cpu / 8u) bits.resize(cpu / 8u + 1);
    bits[cpu / 8u] = static_cast<uint8_t>(bits[cpu / 8u] | 1u << (cpu % 8u));
  }
  SystemdProperty property{name, "ay", {}};
  for (uint8_t byte : bits) property.values.push_back(std::to_string(byte));
  out.push_back(std::move(property));
  return {};
}

// Files that systemd would write itself some day: it has to know the value, or it puts its own back.
Result<> add_unified(std::vector<SystemdProperty>& out, const std::string& file, std::string_view value) {
  static constexpr std::pair<const char*, const char*> kNumbers[] = {
      {"cpu.weight", "CPUWeight"}, {"memory.high", "MemoryHigh"}, {"memory.low", "MemoryLow"},
      {"memory.min", "MemoryMin"}, {"memory.max", "MemoryMax"},   {"memory.swap.max", "MemorySwapMax"},
      {"pids.max", "TasksMax"}};
  auto bad = [&] {
    return fail(ErrorKind::kInvalid, "unified resource %s value invalid: %s", quoted(file).c_str(),
                quoted(value).c_str());
  };
  for (const auto& [name, property] : kNumbers) {
    if (file != name) continue;
    auto parsed = value == "max" && file != "cpu.weight" ? std::optional<uint64_t>(UINT64_MAX) : parse_uint(value);
    if (!parsed) return bad();
    out.push_back(number(property, *parsed));
  }
  if (file == "cpuset.cpus") return add_cpuset(out, "AllowedCPUs", std::string(value));
  if (file == "cpuset.mems") return add_cpuset(out, "AllowedMemoryNodes", std::string(value));
  if (file != "cpu.max") return {};
  auto fields = split(value, ' ');
  auto quota = fields[0] == "max" ? std::optional<int64_t>(-1) : parse_int(fields[0]);
  auto period = fields.size() > 1 ? parse_uint(fields[1]) : std::optional<uint64_t>(100000);
  if (!quota || !period || *period == 0 || fields.size() > 2) return bad();
  add_quota(out, *quota, *period);
  return {};
}

Result<> add_v2(std::vector<SystemdProperty>& out, const CgroupLimits& limits) {
  if (limits.memory) out.push_back(limit("MemoryMax", *limits.memory));
  if (limits.memory_reservation) out.push_back(limit("MemoryLow", *limits.memory_reservation));
  if (limits.memory == -1 && !limits.memory_swap) out.push_back(limit("MemorySwapMax", -1));
  if (limits.memory_swap && *limits.memory_swap < 0) out.push_back(limit("MemorySwapMax", -1));
  if (limits.memory_swap && *limits.memory_swap >= 0 && limits.memory) {
    int64_t memory = std::max<int64_t>(*limits.memory, 0);
    if (*limits.memory_swap < memory) return fail(ErrorKind::kInvalid, "memory+swap limit should be >= memory limit");
    out.push_back(limit("MemorySwapMax", *limits.memory_swap - memory));
  }
  // 0 is how systemd writes SCHED_IDLE's cpu.idle.
  if (limits.cpu_idle == 1)
    out.push_back(number("CPUWeight", 0));
  else if (limits.cpu_shares)
    out.push_back(number("CPUWeight", cpu_weight_of_shares(*limits.cpu_shares)));
  add_quota(out, limits.cpu_quota.value_or(0), limits.cpu_period.value_or(0));
  TRY(add_cpuset(out, "AllowedCPUs", limits.cpuset_cpus));
  TRY(add_cpuset(out, "AllowedMemoryNodes", limits.cpuset_mems));
  if (limits.blkio_weight) out.push_back(number("IOWeight", io_weight_of_blkio(*limits.blkio_weight)));
  for (const auto& [file, value] : limits.unified) TRY(add_unified(out, file, trim(value)));
  return {};
}

void add_v1(std::vector<SystemdProperty>& out, const CgroupLimits& limits) {
  if (limits.memory) out.push_back(limit("MemoryLimit", *limits.memory));
  if (limits.cpu_shares) out.push_back(number("CPUShares", *limits.cpu_shares));
  add_quota(out, limits.cpu_quota.value_or(0), limits.cpu_period.value_or(0));
  if (limits.blkio_weight) out.push_back(number("BlockIOWeight", *limits.blkio_weight));
}

}  // namespace

Result<SystemdProperty> systemd_property_of(std::string_view name, std::string_view text) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (name.size() < 3 || name.size() > 128 || !std::all_of(name.begin(), name.end(), letter))
    return fail(ErrorKind::kInvalid, "systemd property %s: invalid name", quoted(name).c_str());
  SystemdProperty out{std::string(name), "", {}};
  if (text.size() > 65536 || !Parser(text).value(out))
    return fail(ErrorKind::kInvalid, "systemd property '%s': cannot understand %s", out.name.c_str(),
                quoted(text.substr(0, 200)).c_str());
  if (name.size() > 4 && name.ends_with("Sec") && name[name.size() - 4] >= 'a') {
    out.name.resize(out.name.size() - 3);
    TRY(seconds_to_microseconds(out));
  }
  return out;
}

Result<std::vector<SystemdProperty>> systemd_properties_of(const CgroupLimits& limits, bool v2) {
  std::vector<SystemdProperty> out;
  if (v2)
    TRY(add_v2(out, limits));
  else
    add_v1(out, limits);
  if (limits.pids) out.push_back(limit("TasksMax", *limits.pids > 0 ? *limits.pids : -1));
  return out;
}

}  // namespace caisson::sys
