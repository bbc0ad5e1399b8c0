// SPDX-License-Identifier: Apache-2.0
#include "sys/device_filter.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace caisson::sys {

namespace {

class Program {
 public:
  void add(uint8_t code, uint8_t dst, uint8_t src, int16_t offset, int32_t immediate) {
    bpf_insn insn{};
    insn.code = code;
    insn.dst_reg = dst & 15;
    insn.src_reg = src & 15;
    insn.off = offset;
    insn.imm = immediate;
    uint64_t word;
    memcpy(&word, &insn, sizeof word);
    words_.push_back(word);
  }
  size_t size() const { return words_.size(); }
  // Makes the jump at `at` land behind the last instruction.
  void land_here(size_t at) {
    bpf_insn insn;
    memcpy(&insn, &words_[at], sizeof insn);
    insn.off = static_cast<int16_t>(words_.size() - at - 1);
    memcpy(&words_[at], &insn, sizeof insn);
  }
  std::vector<uint64_t> take() { return std::move(words_); }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace

// A request may ask for several accesses at once (open for reading and writing). It is allowed when each
// of them is: per access bit the rules are walked from the last to the first, the first match deciding.
std::vector<uint64_t> compile_device_filter(const std::vector<DeviceRule>& rules) {
  Program program;
  // r2 = device type, r3 = access bits, r4 = major, r5 = minor; context in r1.
  program.add(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
  program.add(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
  program.add(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 0, 0);
  program.add(BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16);
  program.add(BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
  program.add(BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
  for (int bit : {BPF_DEVCG_ACC_MKNOD, BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE}) {
    // Access not asked for: on to the next bit.
    program.add(BPF_ALU | BPF_MOV | BPF_X, 6, 3, 0, 0);
    program.add(BPF_ALU | BPF_AND | BPF_K, 6, 0, 0, bit);
    size_t not_asked = program.size();
    program.add(BPF_JMP32 | BPF_JEQ | BPF_K, 6, 0, 0, 0);
    std::vector<size_t> granted;
    bool open_end = true;  // the verifier refuses unreachable code, so no default behind a catch-all
    for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
      bool all = rule->type == 'a';
      bool concerned = all || (bit == BPF_DEVCG_ACC_MKNOD  ? rule->mknod
                               : bit == BPF_DEVCG_ACC_READ ? rule->read
                                                           : rule->write);
      if (!concerned) continue;
      std::vector<size_t> misses;
      auto require = [&](uint8_t reg, int64_t value) {
        misses.push_back(program.size());
        program.add(BPF_JMP32 | BPF_JNE | BPF_K, reg, 0, 0, static_cast<int32_t>(value));
      };
      if (!all) require(2, rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
      if (!all && rule->major >= 0) require(4, rule->major);
      if (!all && rule->minor >= 0) require(5, rule->minor);
      if (rule->allow) {
        granted.push_back(program.size());
        program.add(BPF_JMP | BPF_JA, 0, 0, 0, 0);
      } else {
        program.add(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
        program.add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
      }
      for (size_t miss : misses) program.land_here(miss);
      if (misses.empty()) {
        open_end = false;
        break;
      }
    }
    if (open_end) {
      program.add(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
      program.add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    }
    program.land_here(not_asked);
    for (size_t jump : granted) program.land_here(jump);
  }
  program.add(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
  program.add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  return program.take();
}

Result<UniqueFd> load_device_filter(const std::vector<DeviceRule>& rules) {
  auto words = compile_device_filter(rules);
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<uint64_t>(words.data());
  attributes.insn_cnt = static_cast<uint32_t>(words.size());
  attributes.license = reinterpret_cast<uint64_t>("Apache-2.0");
  long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
  if (fd < 0) return fail_errno("load the device filter");
  return UniqueFd(static_cast<int>(fd));
}

namespace {

constexpr size_t kMaxAttached = 64;  // the kernel's own limit per group

long bpf(int command, bpf_attr& attributes) { return syscall(SYS_bpf, command, &attributes, sizeof attributes); }

// Ids of the filters attached to the group itself. Asking takes CAP_NET_ADMIN: without it there are none
// that we know of.
std::vector<uint32_t> attached_filters(int cgroup) {
  std::vector<uint32_t> ids(kMaxAttached);
  bpf_attr attributes{};
  attributes.query.target_fd = static_cast<uint32_t>(cgroup);
  attributes.query.attach_type = BPF_CGROUP_DEVICE;
  attributes.query.prog_ids = reinterpret_cast<uint64_t>(ids.data());
  attributes.query.prog_cnt = static_cast<uint32_t>(ids.size());
  ids.resize(bpf(BPF_PROG_QUERY, attributes) == 0 ? attributes.query.prog_cnt : 0);
  return ids;
}

UniqueFd filter_of_id(uint32_t id) {
  bpf_attr attributes{};
  attributes.prog_id = id;
  return UniqueFd(static_cast<int>(bpf(BPF_PROG_GET_FD_BY_ID, attributes)));
}

}  // namespace

Result<> attach_device_filter(int program, int cgroup) {
  // In multi mode the filters of all ancestors have their say too: a group that a container makes inside
  // cannot override ours. Attaching adds there, so what was attached before has to go.
  std::vector<UniqueFd> before;
  for (uint32_t id : attached_filters(cgroup))
    if (auto fd = filter_of_id(id); fd.get() >= 0) before.push_back(std::move(fd));
  bpf_attr attributes{};
  attributes.target_fd = static_cast<uint32_t>(cgroup);
  attributes.attach_bpf_fd = static_cast<uint32_t>(program);
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;
  if (before.size() == 1) {  // at once, so that there is no moment with both or none
    attributes.attach_flags |= BPF_F_REPLACE;
    attributes.replace_bpf_fd = static_cast<uint32_t>(before[0].get());
  }
  if (bpf(BPF_PROG_ATTACH, attributes) < 0) return fail_errno("attach the device filter");
  if (before.size() == 1) return {};
  for (const auto& old : before) {
    bpf_attr detach{};
    detach.target_fd = static_cast<uint32_t>(cgroup);
    detach.attach_bpf_fd = static_cast<uint32_t>(old.get());
    detach.attach_type = BPF_CGROUP_DEVICE;
    if (bpf(BPF_PROG_DETACH, detach) < 0) return fail_errno("detach the device filter of before");
  }
  return {};
}

}  // namespace caisson::sys
