// SPDX-License-Identifier: Apache-2.0
// The container's root on the real kernel: what the black-box tests of the command cannot easily arrange.
#include <sched.h>

#include <linux/mount.h>

#include "runtime/kernel_fixture.h"
#include "sys/raw_calls.h"

namespace caisson::runtime::test {

namespace {

spec::OciMount mount_of(const char* destination, const char* type, std::string source,
                        std::vector<std::string> options) {
  return {destination, type, std::move(source), std::move(options), {}, {}};
}

Outcome with_mount(const Root& root, spec::OciMount mount, const char* script) {
  auto spec = root.spec({"sh", "-c", script});
  spec.mounts.push_back(std::move(mount));
  return root.run(root.plan(spec));
}

void map_users(spec::RuntimeSpec& spec, uint32_t host, uint32_t count) {
  spec.linux_part->namespaces.push_back({"user", ""});
  spec.linux_part->uid_mappings = spec.linux_part->gid_mappings = {{0, host, count}};
}

}  // namespace

TEST_CASE("tmpcopyup brings the image's files with modes, owners, links and attributes") {
  if (!can_run()) return;
  Root root;
  std::string dir = root.path() + "/data";
  REQUIRE(sys::make_dirs(dir + "/sub"));
  REQUIRE(chmod(dir.c_str(), 0750) == 0);
  REQUIRE(sys::write_file(dir + "/sub/file", "text\n", 0640));
  REQUIRE(chown((dir + "/sub/file").c_str(), 7, 8) == 0);
  REQUIRE(symlink("/etc/passwd", (dir + "/link").c_str()) == 0);
  REQUIRE(mkfifo((dir + "/pipe").c_str(), 0600) == 0);
  auto outcome = with_mount(root, mount_of("/data", "tmpfs", "t", {"tmpcopyup", "ro", "size=1m"}),
                            "cat /data/sub/file; stat -c '%a %u %g' /data /data/sub/file; readlink /data/link; test -p "
                            "/data/pipe && echo pipe; "
                            "touch /data/x 2>&1; grep ' /data ' /proc/mounts | grep -c ^t.*size=1024k");
  CHECK(outcome.error.message == "");
  CHECK(outcome.out == "text\n750 0 0\n640 7 8\n/etc/passwd\npipe\ntouch: /data/x: Read-only file system\n1\n");
  auto own_mode = with_mount(root, mount_of("/data", "tmpfs", "t", {"tmpcopyup", "mode=711"}),
                             "stat -c %a /data; cat /data/sub/file");
  CHECK(own_mode.out == "711\ntext\n");
  auto too_small = with_mount(root, mount_of("/data", "tmpfs", "t", {"tmpcopyup", "nr_inodes=3"}), "true");
  CHECK(too_small.error.message.starts_with("copy into the tmpfs at '/data': "));
  CHECK(too_small.error.message.ends_with("No space left on device"));
}

TEST_CASE("a tmpfs has the mode of what it covers unless it is told another") {
  if (!can_run()) return;
  Root root;
  REQUIRE(sys::make_dirs(root.path() + "/there"));
  REQUIRE(chmod((root.path() + "/there").c_str(), 0710) == 0);
  CHECK(with_mount(root, mount_of("/there", "tmpfs", "t", {}), "stat -c %a /there").out == "710\n");
  CHECK(with_mount(root, mount_of("/there", "tmpfs", "t", {"mode=700"}), "stat -c %a /there").out == "700\n");
  CHECK(with_mount(root, mount_of("/new", "tmpfs", "t", {}), "stat -c %a /new").out == "1777\n");
}

TEST_CASE("what is read-only in the end takes devices and mount points before") {
  if (!can_run()) return;
  Root root;
  REQUIRE(sys::make_dirs(root.outside() + "/vol"));
  auto spec = root.spec(
      {"sh", "-c",
       "touch /dev/x 2>&1; touch /run/x 2>&1; touch /run/deep/er/x && cat /dev/null && touch /dev/shm/x && echo fine"});
  for (auto& mount : spec.mounts)
    if (mount.destination == "/dev") mount.options.push_back("ro");
  spec.mounts.push_back(mount_of("/run", "tmpfs", "t", {"ro"}));
  spec.mounts.push_back(mount_of("/run/deep/er", "bind", root.outside() + "/vol", {"rbind"}));
  auto outcome = root.run(root.plan(spec));
  CHECK(outcome.error.message == "");
  CHECK(outcome.out == "touch: /dev/x: Read-only file system\ntouch: /run/x: Read-only file system\nfine\n");
  spec.process->terminal = true;
  spec.process->args = {"sh", "-c", "test -c /dev/console && exit 9"};
  auto started = run(root.plan(spec), {});
  if (!started) FAIL(started.error().message);
  CHECK(*sys::wait_child({started->pid, std::move(started->pidfd)}) == 9);
  CHECK(sys::remove_cgroup(started->cgroup));
}

TEST_CASE("cgroup v2 of the host is shown as it is when there is no cgroup namespace") {
  if (!can_run()) return;
  Root root;
  std::string tree;
  for (const char* path : {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"})
    if (tree.empty() && sys::path_exists(std::string(path) + "/cgroup.procs")) tree = path;
  if (tree.empty()) {
    fputs("SKIPPED: no cgroup2 mount\n", stderr);
    return;
  }
  auto before = root.system;
  root.system = {};
  root.system.v2 = true;
  root.system.hierarchies = {{tree, {}}};
  auto spec = root.spec({"sh", "-c",
                         "grep -c ' /sys/fs/cgroup ro,.* - cgroup2' /proc/self/mountinfo; ls -d /sys/fs/cgroup$(cat "
                         "/proc/self/cgroup | grep ^0:: | cut -c4-)"});
  std::erase_if(spec.linux_part->namespaces, [](auto& n) { return n.type == "cgroup"; });
  auto outcome = root.run(root.plan(spec));
  CHECK(outcome.error.message == "");
  CHECK(outcome.out.starts_with("1\n/sys/fs/cgroup/caisson-test-"));
  CHECK(sys::remove_cgroup(sys::cgroup_paths(root.system, root.parent)));
  root.system = before;
}

TEST_CASE("options that fsconfig has no room for go through mount(2)") {
  if (!can_run()) return;
  Root root;
  std::string lower;
  for (int i = 0; i < 4; ++i) {
    std::string dir = root.outside() + "/" + std::string(100, static_cast<char>('a' + i));
    REQUIRE(sys::make_dirs(dir));
    REQUIRE(sys::write_file(dir + format("/f%d", i), format("%d\n", i)));
    lower += (i ? ":" : "") + dir;
  }
  auto outcome = with_mount(root, mount_of("/o", "overlay", "overlay", {"lowerdir=" + lower, "ro", "nodev", "shared"}),
                            "cat /o/f0 /o/f3; grep -c ' /o ro,nodev.* shared:.* - overlay' /proc/self/mountinfo");
  CHECK(outcome.error.message == "");
  CHECK(outcome.out == "0\n3\n1\n");
  auto too_long =
      with_mount(root, mount_of("/o", "overlay", "overlay", {"lowerdir=" + std::string(5000, 'x')}), "true");
  CHECK(too_long.error.message == "mount at '/o': options longer than a page");
}

TEST_CASE("/proc takes nothing but procfs, also when no procfs is mounted") {
  if (!can_run()) return;
  Root root;
  REQUIRE(sys::make_dirs(root.outside() + "/vol"));
  auto only = [&](spec::OciMount mount) {
    auto spec = root.spec({"true"});
    spec.mounts = {std::move(mount)};
    spec.linux_part->masked_paths.clear();
    spec.linux_part->readonly_paths.clear();
    return root.run(root.plan(spec)).error.message;
  };
  CHECK(only(mount_of("/proc", "bind", root.outside() + "/vol", {"bind"})) == "mount on '/proc': it is inside /proc");
  CHECK(only(mount_of("/proc", "tmpfs", "tmpfs", {})) == "mount on '/proc': it is inside /proc");
  CHECK(only(mount_of("/proc", "bind", "/proc", {"rbind"})) == "");
}

TEST_CASE("a user namespace: mapped owners, the host's devices, /sys without an own network") {
  if (!can_run()) return;
  Root root;
  REQUIRE(chown(root.path().c_str(), 100000, 100000) == 0);
  REQUIRE(chmod(root.outside().c_str(), 0755) == 0);
  REQUIRE(sys::make_dirs(root.outside() + "/vol"));
  REQUIRE(chmod((root.outside() + "/vol").c_str(), 0700) == 0);
  REQUIRE(sys::write_file(root.outside() + "/vol/f", "data\n", 0644));
  auto spec = root.spec(
      {"sh", "-c",
       "id -u; stat -c '%u %U' /bin/busybox | head -1; stat -c %t:%T /dev/null; echo x > /dev/null && echo writable;"
       "grep -c ' /dev/null .* devtmpfs' /proc/self/mountinfo; cat /v/f 2>&1; umount /v && echo gone;"
       "mount -t tmpfs t /tmp && echo mounted; mknod /tmp/n c 1 3 2>&1"});
  map_users(spec, 100000, 65536);
  spec.process->capabilities = capability_sets(all_capability_names(), true);
  spec.mounts.push_back(mount_of("/v", "bind", root.outside() + "/vol", {"rbind", "ro"}));
  auto outcome = root.run(root.plan(spec));
  CHECK(outcome.error.message == "");
  CHECK(outcome.out.starts_with("0\n"));
  auto has = [&](const char* text) { return outcome.out.find(text) != std::string::npos; };
  INFO(outcome.out);
  CHECK(has("1:3\nwritable\n1\n"));
  // The mount is there, though its source's owner is nobody inside.
  CHECK(has("cat: can't open '/v/f': Permission denied\n"));
  CHECK(has("gone\nmounted\n"));
  CHECK(has("mknod: /tmp/n: Operation not permitted\n"));

  auto shared_net = root.spec(
      {"sh", "-c", "grep ' /sys ' /proc/self/mountinfo | grep -c ' ro,.*- sysfs'; ls /sys/class | grep -c net"});
  map_users(shared_net, 100000, 65536);
  std::erase_if(shared_net.linux_part->namespaces, [](auto& n) { return n.type == "network"; });
  auto on_host = root.run(root.plan(shared_net));
  CHECK(on_host.error.message == "");
  CHECK(on_host.out == "1\n1\n");

  auto narrow = root.spec({"true"});
  map_users(narrow, 100000, 1);
  CHECK(root.run(root.plan(narrow)).error.message ==
        "mount at '/dev/pts': gid 5 is not mapped in the container's user namespace");
}

TEST_CASE("an id-mapped bind shows other owners; one map serves several mounts") {
  if (!can_run()) return;
  Root root;
  REQUIRE(sys::make_dirs(root.outside() + "/vol"));
  REQUIRE(sys::write_file(root.outside() + "/vol/f", "x"));
  REQUIRE(chown((root.outside() + "/vol/f").c_str(), 1000, 2000) == 0);
  auto spec = root.spec({"sh", "-c", "stat -c '%u %g' /a/f /b/f /c/f; touch /a/new"});
  for (const char* destination : {"/a", "/b"}) {
    auto mount = mount_of(destination, "bind", root.outside() + "/vol", {"rbind", "idmap"});
    mount.uid_mappings = {{1000, 0, 1}, {0, 1000, 1}};
    mount.gid_mappings = {{2000, 7, 1}, {0, 2000, 1}};
    spec.mounts.push_back(mount);
  }
  spec.mounts.push_back(mount_of("/c", "bind", root.outside() + "/vol", {"rbind"}));
  auto outcome = root.run(root.plan(spec));
  CHECK(outcome.error.message == "");
  CHECK(outcome.out.starts_with("0 7\n0 7\n1000 2000\n"));
  spec.mounts.back() = mount_of("/c", "bind", "/proc/sys", {"rbind", "idmap"});
  spec.mounts.back().uid_mappings = spec.mounts.back().gid_mappings = {{0, 1000, 1}};
  auto unable = root.run(root.plan(spec)).error;
  CHECK(unable.kind == ErrorKind::kUnsupported);
  CHECK(unable.message == "mount at '/c': id-map '/proc/sys' (file system type 0x9fa0): Invalid argument");
}

TEST_CASE("what a user namespace mounts below a shared bind stays out of the host's table") {
  if (!can_run()) return;
  Root root;
  REQUIRE(chown(root.path().c_str(), 100000, 100000) == 0);
  REQUIRE(chmod(root.outside().c_str(), 0755) == 0);
  std::string top = root.outside() + "/shared";
  REQUIRE(sys::make_dirs(top));
  REQUIRE(sys::raw::mount_call("t", top.c_str(), "tmpfs", 0, "") == 0);
  REQUIRE(sys::raw::set_propagation(top.c_str(), MS_SHARED) == 0);
  REQUIRE(sys::make_dirs(top + "/sub"));
  for (bool users : {false, true}) {
    auto spec = root.spec({"sh", "-c", "mount -t tmpfs inner /v/sub && echo mounted"});
    if (users) map_users(spec, 100000, 65536);
    spec.process->capabilities = capability_sets({"CAP_SYS_ADMIN"}, true);
    spec.mounts.push_back(mount_of("/v", "bind", top, {"rbind", "rshared"}));
    auto outcome = root.run(root.plan(spec));
    CHECK(outcome.error.message == "");
    CHECK(outcome.out == "mounted\n");
    bool arrived = sys::read_file("/proc/self/mountinfo")->find(top + "/sub ") != std::string::npos;
    CHECK(arrived == !users);
    sys::raw::detach_mount((top + "/sub").c_str());
  }
  CHECK(sys::raw::detach_mount(top.c_str()) == 0);
}

TEST_CASE("masks and read-only paths lead through links inside the root, and skip what is not there") {
  if (!can_run()) return;
  Root root;
  REQUIRE(sys::make_dirs(root.path() + "/secret/dir"));
  REQUIRE(sys::write_file(root.path() + "/secret/dir/f", "x"));
  REQUIRE(sys::write_file(root.path() + "/secret/file", "x"));
  REQUIRE(symlink("/secret", (root.path() + "/way").c_str()) == 0);
  REQUIRE(symlink(root.outside().c_str(), (root.path() + "/out").c_str()) == 0);
  auto spec = root.spec(
      {"sh", "-c", "ls /secret/dir | wc -l; wc -c < /secret/file; touch /secret/dir/n 2>&1; touch /tmp/n 2>&1"});
  spec.linux_part->masked_paths = {"/way/dir", "/way/file", "/nowhere/x", "/bin/busybox/x", "/out/rootfs"};
  spec.linux_part->readonly_paths = {"/tmp", "/nowhere", "/bin/busybox/x"};
  auto outcome = root.run(root.plan(spec));
  CHECK(outcome.error.message == "");
  CHECK(outcome.out == "0\n0\ntouch: /secret/dir/n: Read-only file system\ntouch: /tmp/n: Read-only file system\n");
}

TEST_CASE("devices: kinds, owners, nested directories, nodes that are there") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec(
      {"sh", "-c",
       "stat -c '%F %a %u %g %t:%T' /dev/a/b/c /dev/p /dev/blk /dev/u; readlink /dev/ptmx; cat /dev/null /etc/null"});
  REQUIRE(sys::write_file(root.path() + "/etc/null", "image's\n"));
  spec.linux_part->devices = {{"/dev/a/b/c", "c", 1, 5, 0604u, 3u, 4u}, {"/dev/p", "p", 0, 0, 0644u, {}, {}},
                              {"/dev/blk", "b", 7, 9, {}, {}, {}},      {"/dev/u", "u", 1, 3, 0600u, {}, {}},
                              {"/etc/null", "c", 1, 3, {}, {}, {}},     {"/dev/ptmx", "c", 5, 2, {}, {}, {}}};
  auto outcome = root.run(root.plan(spec));
  CHECK(outcome.error.message == "");
  CHECK(outcome.out ==
        "character special file 604 3 4 1:5\nfifo 644 0 0 0:0\nblock special file 666 0 0 7:9\n"
        "character special file 600 0 0 1:3\npts/ptmx\nimage's\n");
}

TEST_CASE("without pivot_root the container sees no more of the host") {
  if (!can_run()) return;
  Root root;
  auto spec = root.spec({"sh", "-c",
                         "ls / | grep -c bin; ls /.. | grep -c bin; grep -c ' / / ' /proc/self/mountinfo; wc -l < "
                         "/proc/self/mountinfo; ls /proc/1/root/ | grep -c bin"});
  auto plan = root.plan(spec);
  auto with = root.run(plan);
  plan.no_pivot = true;
  auto without = root.run(plan);
  CHECK(without.error.message == "");
  CHECK(without.out == with.out);
}

TEST_CASE("sysctls are written to procfs and to nothing that lies over it") {
  if (!can_run()) return;
  Root root;
  // In a mount namespace of the test's own, where a file lies over the sysctl.
  REQUIRE(sys::write_file(root.outside() + "/fake", "before\n"));
  auto spec = root.spec({"true"});
  spec.linux_part->sysctl = {{"kernel.domainname", "inside"}};
  auto plan = root.plan(spec);
  UniqueFd own(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
  REQUIRE(unshare(CLONE_NEWNS) == 0);
  REQUIRE(sys::raw::set_propagation("/", MS_REC | MS_PRIVATE) == 0);
  REQUIRE(sys::raw::mount_call((root.outside() + "/fake").c_str(), "/proc/sys/kernel/domainname", "", MS_BIND, "") ==
          0);
  auto outcome = root.run(plan);
  REQUIRE(setns(own.get(), CLONE_NEWNS) == 0);
  CHECK(outcome.error.message == "write sysctl '/proc/sys/kernel/domainname': Invalid cross-device link");
  CHECK(*sys::read_file(root.outside() + "/fake") == "before\n");
}

TEST_CASE("a mount label needs selinux") {
  if (!can_run() || sys::path_exists("/sys/fs/selinux/enforce")) return;
  Root root;
  auto spec = root.spec({"true"});
  spec.linux_part->mount_label = "system_u:object_r:container_file_t:s0:c1,c2";
  auto error = root.run(root.plan(spec)).error;
  CHECK(error.kind == ErrorKind::kUnsupported);
  CHECK(error.message ==
        "mount at '/dev': mount label 'system_u:object_r:container_file_t:s0:c1,c2': selinux is disabled or not "
        "supported");
}

}  // namespace caisson::runtime::test
