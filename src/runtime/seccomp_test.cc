// SPDX-License-Identifier: Apache-2.0
// Profiles to filters, judged by running the filter over made-up calls.
#include <doctest/doctest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdlib>

#include "runtime/seccomp_profile.h"
#include "sys/files.h"
#include "sys/seccomp.h"

#if defined(__x86_64__)

namespace caisson::runtime {

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr uint32_t error(uint32_t number) { return SECCOMP_RET_ERRNO | number; }

static SeccompContext context(uint64_t capabilities = 0xa80425fb, KernelVersion kernel = {6, 1}) {
  return {capabilities, "amd64", kernel};
}

static uint32_t judge(const std::string& filter, uint32_t number, uint64_t first = 0, uint64_t second = 0,
                      uint32_t arch = AUDIT_ARCH_X86_64) {
  return sys::run_seccomp(filter, arch, number, {first, second, 0, 0, 0, 0});
}

static std::string compiled(const char* json, SeccompContext in = context()) {
  auto profile = parse_seccomp_profile(json, in);
  if (!profile) FAIL(profile.error().message);
  auto filter = compile_seccomp(*profile);
  if (!filter) FAIL(filter.error().message);
  return *filter;
}

TEST_CASE("the default profile") {
  auto filter = compile_seccomp(default_seccomp(context()));
  REQUIRE(filter);
  CHECK(filter->size() / 8 < 1200);
  CHECK(judge(*filter, SYS_read) == kAllow);
  CHECK(judge(*filter, SYS_openat) == kAllow);
  CHECK(judge(*filter, SYS_ptrace) == kAllow);
  CHECK(judge(*filter, SYS_chroot) == kAllow);  // CAP_SYS_CHROOT is a default
  for (uint32_t refused : {SYS_mount, SYS_unshare, SYS_setns, SYS_bpf, SYS_keyctl, SYS_add_key, SYS_kexec_load,
                           SYS_reboot, SYS_init_module, SYS_open_by_handle_at, SYS_perf_event_open, SYS_userfaultfd,
                           SYS_swapon, SYS_clock_settime, SYS_io_uring_setup, SYS_move_mount, SYS_pivot_root})
    CHECK(judge(*filter, refused) == error(EPERM));
  CHECK(judge(*filter, SYS_clone, 0x11) == kAllow);
  CHECK(judge(*filter, SYS_clone, 0x10000000) == error(EPERM));
  CHECK(judge(*filter, SYS_clone3) == error(ENOSYS));
  CHECK(judge(*filter, SYS_socket, 2) == kAllow);
  CHECK(judge(*filter, SYS_socket, 38) == error(EPERM));
  CHECK(judge(*filter, SYS_socket, 39) == kAllow);
  CHECK(judge(*filter, SYS_socket, 40) == error(EPERM));
  CHECK(judge(*filter, SYS_socket, uint64_t{1} << 32 | 40) == kAllow);
  CHECK(judge(*filter, SYS_personality, 0xffffffff) == kAllow);
  CHECK(judge(*filter, SYS_personality, 0x40000) == error(EPERM));
  CHECK(judge(*filter, 452) == kAllow);                              // fchmodat2, newer than libseccomp 2.5
  CHECK(judge(*filter, 460) == error(EPERM));                        // lsm_set_self_attr: known, not allowed
  CHECK(judge(*filter, 9999) == error(ENOSYS));                      // newer than the profile
  CHECK(judge(*filter, 3, 0, 0, AUDIT_ARCH_I386) == kAllow);         // read
  CHECK(judge(*filter, 21, 0, 0, AUDIT_ARCH_I386) == error(EPERM));  // mount
  CHECK(judge(*filter, 0x40000000) == kAllow);                       // x32 read
  CHECK(judge(*filter, 0x40000000 + 165) == error(EPERM));           // x32 mount
  CHECK(judge(*filter, 0, 0, 0, AUDIT_ARCH_AARCH64) == SECCOMP_RET_KILL_THREAD);
}

TEST_CASE("capabilities and kernels open it") {
  auto admin = compile_seccomp(default_seccomp(context(uint64_t{1} << 21)));
  REQUIRE(admin);
  CHECK(judge(*admin, SYS_mount) == kAllow);
  CHECK(judge(*admin, SYS_clone, 0x10000000) == kAllow);
  CHECK(judge(*admin, SYS_clone3) == kAllow);
  CHECK(judge(*admin, SYS_chroot) == error(EPERM));
  auto old = compile_seccomp(default_seccomp(context(0, {4, 7})));
  REQUIRE(old);
  CHECK(judge(*old, SYS_ptrace) == error(EPERM));
}

TEST_CASE("every operator, over both halves of an argument") {
  struct Case {
    const char* op;
    bool below, equal, above;
  };
  for (auto [op, below, equal, above] :
       {Case{"LT", true, false, false}, Case{"LE", true, true, false}, Case{"GT", false, false, true},
        Case{"GE", false, true, true}, Case{"EQ", false, true, false}, Case{"NE", true, false, true}})
    for (uint64_t value : {uint64_t{5}, (uint64_t{7} << 32) | 5, (uint64_t{7} << 32), uint64_t{0xffffffff}}) {
      auto filter = compiled(
          (R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":9,
        "args":[{"index":1,"value":)" +
           std::to_string(value) + R"(,"op":"SCMP_CMP_)" + op + R"("}]}]})")
              .c_str());
      auto held = [&](uint64_t argument) { return judge(filter, SYS_read, 0, argument) == error(9); };
      for (uint64_t distance : {uint64_t{1}, uint64_t{2}, uint64_t{1} << 32}) {
        if (value >= distance) CHECK(held(value - distance) == below);
        CHECK(held(value + distance) == above);
      }
      CHECK(held(value) == equal);
    }
  auto masked = compiled(R"({"defaultAction":"SCMP_ACT_KILL","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW",
      "args":[{"index":0,"value":15,"valueTwo":5,"op":"SCMP_CMP_MASKED_EQ"}]}]})");
  CHECK(judge(masked, SYS_read, 0xf5) == kAllow);
  CHECK(judge(masked, SYS_read, 0xf4) == SECCOMP_RET_KILL_THREAD);
  CHECK(judge(masked, SYS_write) == SECCOMP_RET_KILL_THREAD);
}

TEST_CASE("several conditions: all of them, or any on one argument") {
  auto both = compiled(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO",
      "args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":1,"value":2,"op":"SCMP_CMP_EQ"}]}]})");
  CHECK(judge(both, SYS_read, 1, 2) == error(EPERM));
  CHECK(judge(both, SYS_read, 1, 3) == kAllow);
  auto any = compiled(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO",
      "args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]})");
  CHECK(judge(any, SYS_read, 1) == error(EPERM));
  CHECK(judge(any, SYS_read, 2) == error(EPERM));
  CHECK(judge(any, SYS_read, 3) == kAllow);
}

TEST_CASE("conditions of Docker's form") {
  const char* text = R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
    "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":null}],
    "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
                {"names":["write"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}},
                {"names":["open"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm64"]}},
                {"names":["close"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"6.0"}},
                {"names":["nosuchcall"],"action":"SCMP_ACT_ALLOW"}]})";
  auto plain = compiled(text);
  CHECK(judge(plain, SYS_read) == error(38));
  CHECK(judge(plain, SYS_write) == kAllow);
  CHECK(judge(plain, SYS_open) == error(38));
  CHECK(judge(plain, SYS_close) == kAllow);
  CHECK(judge(plain, 4, 0, 0, AUDIT_ARCH_I386) == kAllow);
  auto admin = compiled(text, context(uint64_t{1} << 21, {5, 10}));
  CHECK(judge(admin, SYS_read) == kAllow);
  CHECK(judge(admin, SYS_write) == error(38));
  CHECK(judge(admin, SYS_close) == error(38));
}

TEST_CASE("profiles that are refused") {
  auto message = [](const char* text) {
    auto profile = parse_seccomp_profile(text, context());
    if (profile) return std::string("accepted");
    CHECK(profile.error().kind == ErrorKind::kInvalid);
    return profile.error().message;
  };
  CHECK(message("{").starts_with("decoding seccomp profile failed: "));
  CHECK(message("{}") == "decoding seccomp profile failed: invalid default action ''");
  CHECK(message(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"MAYBE"}]})") ==
        "decoding seccomp profile failed: invalid action 'MAYBE'");
  CHECK(message(
            R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["read"],"action":"SCMP_ACT_LOG"}]})")
            .ends_with("use either 'name' or 'names'"));
  CHECK(
      message(
          R"({"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]})")
          .ends_with("use either 'architectures' or 'archMap'"));
  CHECK(
      message(
          R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]})") !=
      "accepted");
}

TEST_CASE("compiled filters are kept in memory and on disk") {
  char name[] = "/tmp/caisson-seccomp-XXXXXX";
  std::string dir = mkdtemp(name);
  auto profile = default_seccomp(context());
  std::string first;
  {
    SeccompCache cache(dir);
    first = *cache.bpf_for(profile);
    CHECK(*cache.bpf_for(profile) == first);
    CHECK(*cache.default_bpf(context()) == first);
    CHECK(*cache.default_bpf(context(0)) != first);
  }
  auto files = sys::list_dir(dir);
  REQUIRE(files);
  CHECK(files->size() == 2);
  SeccompCache again(dir);
  CHECK(*again.bpf_for(profile) == first);
  CHECK(sys::remove_tree(dir));
}

TEST_CASE("kernel versions") {
  CHECK(parse_kernel_version("6.1.0-13-amd64") == KernelVersion{6, 1});
  CHECK(parse_kernel_version("5.10") == KernelVersion{5, 10});
  CHECK_FALSE(parse_kernel_version("six.one"));
  CHECK_FALSE(parse_kernel_version(""));
}

}  // namespace caisson::runtime

#endif
