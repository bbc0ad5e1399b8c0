// SPDX-License-Identifier: Apache-2.0
#include "sys/seccomp_filter.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace caisson::sys {

namespace {

using Code = std::vector<sock_filter>;

constexpr uint32_t kNumberOffset = offsetof(seccomp_data, nr);
constexpr uint32_t kArchOffset = offsetof(seccomp_data, arch);

sock_filter statement(uint16_t code, uint32_t k) { return {code, 0, 0, k}; }
sock_filter jump(uint16_t code, uint32_t k, uint8_t yes, uint8_t no) { return {code, yes, no, k}; }
sock_filter load(uint32_t offset) { return statement(BPF_LD | BPF_W | BPF_ABS, offset); }
sock_filter answer(uint32_t action) { return statement(BPF_RET | BPF_K, action); }

// `if (A <test> k) yes else no`, both parts of any length: offsets of conditional jumps are 8 bits.
Code branch(uint16_t test, uint32_t k, const Code& yes, const Code& no) {
  Code out;
  uint16_t code = BPF_JMP | BPF_K | test;
  if (no.size() <= 255) {
    out.push_back(jump(code, k, static_cast<uint8_t>(no.size()), 0));
  } else {
    out.push_back(jump(code, k, 0, 1));
    out.push_back(statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(no.size())));
  }
  out.insert(out.end(), no.begin(), no.end());
  out.insert(out.end(), yes.begin(), yes.end());
  return out;
}

// One condition: falls through when it holds. Jumps that mean "does not hold" are collected and
// patched by the caller, as {instruction, whether the jt side}.
class CaseCode {
 public:
  explicit CaseCode(bool narrow) : narrow_(narrow) {}

  void condition(const SeccompCondition& c) {
    // Halves of the 64-bit argument, little-endian as all our architectures are.
    uint32_t low = static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8 * c.argument, high = low + 4;
    auto high_of = [](uint64_t v) { return static_cast<uint32_t>(v >> 32); };
    if (!narrow_) {
      code_.push_back(load(high));
      switch (c.compare) {
        case SeccompCompare::kEqual: test(BPF_JEQ, high_of(c.value), kNext, kFail); break;
        case SeccompCompare::kNotEqual: test(BPF_JEQ, high_of(c.value), kNext, 2); break;
        case SeccompCompare::kMaskedEqual:
          code_.push_back(statement(BPF_ALU | BPF_AND | BPF_K, high_of(c.value)));
          test(BPF_JEQ, high_of(c.value_two), kNext, kFail);
          break;
        case SeccompCompare::kLess:
        case SeccompCompare::kLessEqual:
          test(BPF_JGT, high_of(c.value), kFail, kNext);
          test(BPF_JEQ, high_of(c.value), kNext, 2);  // high half smaller: holds
          break;
        case SeccompCompare::kGreater:
        case SeccompCompare::kGreaterEqual:
          test(BPF_JGT, high_of(c.value), 3, kNext);  // high half greater: holds
          test(BPF_JEQ, high_of(c.value), kNext, kFail);
          break;
      }
    }
    low_half(c, low);
  }
  Code finish(uint32_t action) {
    code_.push_back(answer(action));
    for (auto [at, yes] : fails_) (yes ? code_[at].jt : code_[at].jf) = static_cast<uint8_t>(code_.size() - at - 1);
    return std::move(code_);
  }

 private:
  static constexpr int kNext = 0, kFail = -1;
  void low_half(const SeccompCondition& c, uint32_t offset) {
    auto value = static_cast<uint32_t>(c.value);
    code_.push_back(load(offset));
    switch (c.compare) {
      case SeccompCompare::kEqual: return test(BPF_JEQ, value, kNext, kFail);
      case SeccompCompare::kNotEqual: return test(BPF_JEQ, value, kFail, kNext);
      case SeccompCompare::kMaskedEqual:
        code_.push_back(statement(BPF_ALU | BPF_AND | BPF_K, value));
        return test(BPF_JEQ, static_cast<uint32_t>(c.value_two), kNext, kFail);
      case SeccompCompare::kLess: return test(BPF_JGE, value, kFail, kNext);
      case SeccompCompare::kLessEqual: return test(BPF_JGT, value, kFail, kNext);
      case SeccompCompare::kGreater: return test(BPF_JGT, value, kNext, kFail);
      case SeccompCompare::kGreaterEqual: return test(BPF_JGE, value, kNext, kFail);
    }
  }
  void test(uint16_t op, uint32_t k, int yes, int no) {
    if (yes == kFail) fails_.emplace_back(code_.size(), true);
    if (no == kFail) fails_.emplace_back(code_.size(), false);
    code_.push_back(
        jump(BPF_JMP | BPF_K | op, k, static_cast<uint8_t>(yes < 0 ? 0 : yes), static_cast<uint8_t>(no < 0 ? 0 : no)));
  }
  bool narrow_;
  Code code_;
  std::vector<std::pair<size_t, bool>> fails_;
};

struct Segment {
  uint64_t start;
  const std::vector<SeccompCase>* cases;  // nullptr: `action`
  uint32_t action;
};

Code leaf(const Segment& segment, uint32_t default_action, uint64_t narrow_from) {
  Code out;
  if (segment.cases)
    for (const auto& one : *segment.cases) {
      CaseCode code(segment.start >= narrow_from);
      for (const auto& condition : one.conditions) code.condition(condition);
      Code part = code.finish(one.action);
      out.insert(out.end(), part.begin(), part.end());
      if (one.conditions.empty()) return out;
    }
  out.push_back(answer(segment.cases ? default_action : segment.action));
  return out;
}

Code tree(const std::vector<Segment>& segments, size_t from, size_t to, uint32_t default_action, uint64_t narrow_from) {
  if (to - from == 1) return leaf(segments[from], default_action, narrow_from);
  size_t middle = (from + to) / 2;
  return branch(BPF_JGE, static_cast<uint32_t>(segments[middle].start),
                tree(segments, middle, to, default_action, narrow_from),
                tree(segments, from, middle, default_action, narrow_from));
}

std::vector<Segment> segments_of(const SeccompArch& arch, uint32_t default_action, uint32_t foreign_action) {
  // The answer for a number that no rule names.
  auto unnamed = [&](uint64_t number) {
    if (arch.foreign_from && number >= arch.foreign_from) return number == UINT32_MAX ? default_action : foreign_action;
    for (auto space = arch.newer_from.rbegin(); space != arch.newer_from.rend(); ++space)
      if (number >= space->first)
        return space->second && number >= space->second ? SECCOMP_RET_ERRNO | uint32_t{ENOSYS} : default_action;
    return default_action;
  };
  std::vector<Segment> out;
  auto add = [&out](Segment segment) {
    if (!out.empty() && !segment.cases && !out.back().cases && out.back().action == segment.action) return;
    if (!out.empty() && segment.cases && out.back().cases && *segment.cases == *out.back().cases) return;
    out.push_back(segment);
  };
  auto fill = [&](uint64_t from, uint64_t to) {  // [from, to) without rules
    if (from >= to) return;
    add({from, nullptr, unnamed(from)});
    std::vector<uint64_t> edges;
    for (auto [first, newer] : arch.newer_from) edges.insert(edges.end(), {first, newer});
    if (arch.foreign_from) edges.insert(edges.end(), {arch.foreign_from, UINT32_MAX});
    std::sort(edges.begin(), edges.end());
    for (uint64_t edge : edges)
      if (edge > from && edge < to) add({edge, nullptr, unnamed(edge)});
  };
  uint64_t next = 0;
  for (const auto& [number, cases] : arch.calls) {
    fill(next, number);
    if (!cases.empty() && cases.front().conditions.empty())
      add({number, nullptr, cases.front().action});
    else
      add({number, &cases, 0});
    next = uint64_t{number} + 1;
  }
  fill(next, uint64_t{1} << 32);
  return out;
}

}  // namespace

Result<std::string> generate_seccomp(const SeccompProgram& program) {
  Code code = {answer(program.other_arch_action)};
  for (auto arch = program.arches.rbegin(); arch != program.arches.rend(); ++arch) {
    auto segments = segments_of(*arch, program.default_action, program.other_arch_action);
    Code body = {load(kNumberOffset)};
    Code search = tree(segments, 0, segments.size(), program.default_action, arch->narrow_from);
    body.insert(body.end(), search.begin(), search.end());
    code = branch(BPF_JEQ, arch->audit_arch, body, code);
  }
  code.insert(code.begin(), load(kArchOffset));
  if (code.size() > BPF_MAXINSNS)
    return fail(ErrorKind::kExhausted, "seccomp: the profile needs %zu instructions, and the kernel takes %d",
                code.size(), BPF_MAXINSNS);
  return std::string(reinterpret_cast<const char*>(code.data()), code.size() * sizeof(sock_filter));
}

uint32_t run_seccomp(const std::string& filter, uint32_t audit_arch, uint32_t number, const uint64_t (&arguments)[6]) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = audit_arch;
  memcpy(data.args, arguments, sizeof data.args);
  Code code(filter.size() / sizeof(sock_filter));
  memcpy(code.data(), filter.data(), code.size() * sizeof(sock_filter));
  uint32_t a = 0;
  for (size_t pc = 0; pc < code.size(); ++pc) {
    const auto& i = code[pc];
    bool hit;
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS: memcpy(&a, reinterpret_cast<const char*>(&data) + i.k, sizeof a); continue;
      case BPF_ALU | BPF_AND | BPF_K: a &= i.k; continue;
      case BPF_RET | BPF_K: return i.k;
      case BPF_JMP | BPF_JA: pc += i.k; continue;
      case BPF_JMP | BPF_K | BPF_JEQ: hit = a == i.k; break;
      case BPF_JMP | BPF_K | BPF_JGE: hit = a >= i.k; break;
      case BPF_JMP | BPF_K | BPF_JGT: hit = a > i.k; break;
      default: return SECCOMP_RET_KILL_PROCESS;
    }
    pc += hit ? i.jt : i.jf;
  }
  return SECCOMP_RET_KILL_PROCESS;
}

}  // namespace caisson::sys
