// SPDX-License-Identifier: Apache-2.0
#include "sys/seccomp_filter.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

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
  void condition(const SeccompCondition& c) {
    // Halves of the 64-bit argument, little-endian as all our architectures are.
    uint32_t low = static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8 * c.argument, high = low + 4;
    auto low_of = [](uint64_t v) { return static_cast<uint32_t>(v); };
    auto high_of = [](uint64_t v) { return static_cast<uint32_t>(v >> 32); };
    switch (c.compare) {
      case SeccompCompare::kEqual:
        code_.push_back(load(high));
        test(BPF_JEQ, high_of(c.value), kNext, kFail);
        code_.push_back(load(low));
        test(BPF_JEQ, low_of(c.value), kNext, kFail);
        break;
      case SeccompCompare::kNotEqual:
        code_.push_back(load(high));
        test(BPF_JEQ, high_of(c.value), kNext, 2);
        code_.push_back(load(low));
        test(BPF_JEQ, low_of(c.value), kFail, kNext);
        break;
      case SeccompCompare::kMaskedEqual:
        code_.push_back(load(high));
        code_.push_back(statement(BPF_ALU | BPF_AND | BPF_K, high_of(c.value)));
        test(BPF_JEQ, high_of(c.value_two), kNext, kFail);
        code_.push_back(load(low));
        code_.push_back(statement(BPF_ALU | BPF_AND | BPF_K, low_of(c.value)));
        test(BPF_JEQ, low_of(c.value_two), kNext, kFail);
        break;
      case SeccompCompare::kLess:
      case SeccompCompare::kLessEqual:
        code_.push_back(load(high));
        test(BPF_JGT, high_of(c.value), kFail, kNext);
        test(BPF_JEQ, high_of(c.value), kNext, 2);  // high half smaller: holds
        code_.push_back(load(low));
        test(c.compare == SeccompCompare::kLess ? BPF_JGE : BPF_JGT, low_of(c.value), kFail, kNext);
        break;
      case SeccompCompare::kGreater:
      case SeccompCompare::kGreaterEqual:
        code_.push_back(load(high));
        test(BPF_JGT, high_of(c.value), 3, kNext);  // high half greater: holds
        test(BPF_JEQ, high_of(c.value), kNext, kFail);
        code_.push_back(load(low));
        test(c.compare == SeccompCompare::kGreater ? BPF_JGT : BPF_JGE, low_of(c.value), kNext, kFail);
        break;
    }
  }
  Code finish(uint32_t action) {
    code_.push_back(answer(action));
    for (auto [at, yes] : fails_) (yes ? code_[at].jt : code_[at].jf) = static_cast<uint8_t>(code_.size() - at - 1);
    return std::move(code_);
  }

 private:
  static constexpr int kNext = 0, kFail = -1;
  void test(uint16_t op, uint32_t k, int yes, int no) {
    if (yes == kFail) fails_.emplace_back(code_.size(), true);
    if (no == kFail) fails_.emplace_back(code_.size(), false);
    code_.push_back(jump(BPF_JMP | BPF_K | op, k, static_cast<uint8_t>(yes < 0 ? 0 : yes), static_cast<uint8_t>(no < 0 ? 0 : no)));
  }
  Code code_;
  std::vector<std::pair<size_t, bool>> fails_;
};

struct Segment {
  uint64_t start;
  const std::vector<SeccompCase>* cases;  // nullptr: `action`
  uint32_t action;
};

Code leaf(const Segment& segment, uint32_t default_action) {
  Code out;
  if (segment.cases)
    for (const auto& one : *segment.cases) {
      CaseCode code;
      for (const auto& condition : one.conditions) code.condition(condition);
      Code part = code.finish(one.action);
      out.insert(out.end(), part.begin(), part.end());
      if (one.conditions.empty()) return out;
    }
  out.push_back(answer(segment.cases ? default_action : segment.action));
  return out;
}

Code tree(const std::vector<Segment>& segments, size_t from, size_t to, uint32_t default_action) {
  if (to - from == 1) return leaf(segments[from], default_action);
  size_t middle = (from + to) / 2;
  return branch(BPF_JGE, static_cast<uint32_t>(segments[middle].start), tree(segments, middle, to, default_action),
                tree(segments, from, middle, default_action));
}

std::vector<Segment> segments_of(const SeccompArch& arch, uint32_t default_action) {
  // The answer for a number that no rule names.
  auto unnamed = [&](uint64_t number) {
    for (auto space = arch.newer_from.rbegin(); space != arch.newer_from.rend(); ++space)
      if (number >= space->first) return number >= space->second ? SECCOMP_RET_ERRNO | uint32_t{ENOSYS} : default_action;
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
    for (auto [first, newer] : arch.newer_from)
      for (uint64_t edge : {uint64_t{first}, uint64_t{newer}})
        if (edge > from && edge < to) add({edge, nullptr, unnamed(edge)});
  };
  uint64_t next = 0;
  for (const auto& [number, cases] : arch.calls) {
    fill(next, number);
    if (!cases.empty() && cases.front().conditions.empty()) add({number, nullptr, cases.front().action});
    else add({number, &cases, 0});
    next = uint64_t{number} + 1;
  }
  fill(next, uint64_t{1} << 32);
  return out;
}

}  // namespace

Result<std::string> generate_seccomp(const SeccompProgram& program) {
  Code code = {answer(program.other_arch_action)};
  for (auto arch = program.arches.rbegin(); arch != program.arches.rend(); ++arch) {
    auto segments = segments_of(*arch, program.default_action);
    Code body = {load(kNumberOffset)};
    Code search = tree(segments, 0, segments.size(), program.default_action);
    body.insert(body.end(), search.begin(), search.end());
    code = branch(BPF_JEQ, arch->audit_arch, body, code);
  }
  code.insert(code.begin(), load(kArchOffset));
  if (code.size() > BPF_MAXINSNS) return fail(ErrorKind::kExhausted, "seccomp filter has %zu instructions", code.size());
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
