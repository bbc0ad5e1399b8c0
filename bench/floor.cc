// SPDX-License-Identifier: Apache-2.0
// The floor of `run --rm busybox true`: one single-threaded program without an engine, a client, a log or a database
// that makes the same container by the same system calls, waits for it and cleans up. What a run costs above it is
// ours.
//
//   floor --lower DIR [--lower DIR...] --scratch DIR --bpf FILE --net bridge|none [--bridge NAME --address A --gateway
//   G] CMD... floor --make-bpf FILE        compiles the system call filter once, as an engine would keep it in its
//   cache
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/sched.h>  // clone_args
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "floor_net.h"

void die(const char* what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  _exit(125);
}

namespace {

constexpr uint64_t kDefaultCaps = 0xa80425fb;

struct Options {
  std::vector<std::string> lowers;
  std::string scratch, bpf, net = "none", bridge, address, gateway;
  std::vector<char*> command;
};

int sys_move_mount(int from, int to, const char* path, unsigned flags) {
  return static_cast<int>(syscall(SYS_move_mount, from, "", to, path, flags));
}

// A detached mount; options are key, value pairs, a null value sets a flag.
int make_mount(const char* type, const std::vector<std::pair<const char*, const char*>>& options, unsigned attributes) {
  int fs = static_cast<int>(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
  if (fs < 0) die(type);
  for (auto [key, value] : options)
    if (syscall(SYS_fsconfig, fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0)) die(key);
  if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0)) die("fsconfig create");
  int mount = static_cast<int>(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
  if (mount < 0) die("fsmount");
  close(fs);
  return mount;
}

void attach(int mount, int root, const char* path) {
  if (sys_move_mount(mount, root, path, MOVE_MOUNT_F_EMPTY_PATH)) die(path);
  close(mount);
}

int clone_tree(const char* path) {
  return static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
}

void write_file(const std::string& path, const char* data) {
  int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, data, strlen(data)) < 0) die(path.c_str());
  close(fd);
}

// --- the cgroups, v1: one directory in each hierarchy; v2: one --------------------------------------

struct Cgroups {
  std::vector<std::string> dirs;
  bool v2 = false;
};

const char* const kDeviceRules[] = {"c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",   "c 1:8 rwm", "c 1:9 rwm",
                                    "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm", "c *:* m",   "b *:* m"};

Cgroups make_cgroups(const std::string& name) {
  Cgroups groups;
  groups.v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
  std::vector<std::string> roots;
  if (groups.v2) {
    roots.push_back("/sys/fs/cgroup");
  } else {
    for (const char* controller : {"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"})
      if (access((std::string("/sys/fs/cgroup/") + controller).c_str(), F_OK) == 0)
        roots.push_back(std::string("/sys/fs/cgroup/") + controller);
  }
  for (const std::string& root : roots) {
    std::string dir = root + "/" + name;
    if (mkdir(dir.c_str(), 0755)) die(dir.c_str());
    if (root.ends_with("/cpuset")) {
      for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
        char value[256] = {};
        int fd = open((root + file).c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, value, sizeof value - 1) < 0) die("read cpuset");
        close(fd);
        write_file(dir + file, value);
      }
    }
    if (root.ends_with("/devices")) {
      write_file(dir + "/devices.deny", "a");
      for (const char* rule : kDeviceRules) write_file(dir + "/devices.allow", rule);
    }
    groups.dirs.push_back(dir);
  }
  return groups;
}

void join_cgroups(const Cgroups& groups) {
  for (const std::string& dir : groups.dirs) write_file(dir + (groups.v2 ? "/cgroup.procs" : "/tasks"), "0");
}

// --- inside -----------------------------------------------------------------------------------------

void make_dev(int root) {
  int dev = make_mount("tmpfs", {{"mode", "755"}, {"size", "65536k"}}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
  struct Node {
    const char* name;
    unsigned major, minor;
  };
  umask(0);
  for (Node n : {Node{"null", 1, 3}, Node{"zero", 1, 5}, Node{"full", 1, 7}, Node{"random", 1, 8},
                 Node{"urandom", 1, 9}, Node{"tty", 5, 0}})
    if (mknodat(dev, n.name, S_IFCHR | 0666, makedev(n.major, n.minor))) die("mknodat");
  umask(022);
  for (auto [target, name] : {std::pair{"/proc/self/fd", "fd"},
                              {"/proc/self/fd/0", "stdin"},
                              {"/proc/self/fd/1", "stdout"},
                              {"/proc/self/fd/2", "stderr"},
                              {"pts/ptmx", "ptmx"},
                              {"/proc/kcore", "core"}})
    if (symlinkat(target, dev, name)) die("symlinkat");
  for (const char* name : {"pts", "shm", "mqueue"})
    if (mkdirat(dev, name, 0755)) die("mkdirat");
  attach(dev, root, "dev");
  attach(make_mount("devpts", {{"newinstance", nullptr}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}},
                    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC),
         root, "dev/pts");
  attach(make_mount("tmpfs", {{"mode", "1777"}, {"size", "65536k"}},
                    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC),
         root, "dev/shm");
  attach(make_mount("mqueue", {}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC), root, "dev/mqueue");
}

void make_cgroup_view(int root, const Cgroups& groups) {
  constexpr unsigned kFlags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (groups.v2) {
    attach(make_mount("cgroup2", {}, kFlags | MOUNT_ATTR_RDONLY), root, "sys/fs/cgroup");
    return;
  }
  int top = make_mount("tmpfs", {{"mode", "755"}}, kFlags);
  std::vector<std::string> names;
  for (const std::string& dir : groups.dirs) {
    std::string controller = dir.substr(strlen("/sys/fs/cgroup/"));
    controller.resize(controller.find('/'));
    if (mkdirat(top, controller.c_str(), 0755)) die("mkdirat cgroup");
    names.push_back(controller);
  }
  attach(top, root, "sys/fs/cgroup");
  for (size_t i = 0; i < names.size(); ++i) {
    int tree = clone_tree(groups.dirs[i].c_str());
    if (tree < 0) die("open_tree cgroup");
    mount_attr read_only{.attr_set = kFlags | MOUNT_ATTR_RDONLY, .attr_clr = 0, .propagation = 0, .userns_fd = 0};
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &read_only, sizeof read_only)) die("mount_setattr");
    attach(tree, root, ("sys/fs/cgroup/" + names[i]).c_str());
  }
}

void mask_paths(int root) {
  for (const char* path :
       {"proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list", "proc/timer_stats", "proc/sched_debug",
        "proc/asound", "proc/acpi", "proc/scsi", "sys/firmware", "sys/devices/virtual/powercap"}) {
    struct stat status;
    if (fstatat(root, path, &status, 0)) continue;
    if (S_ISDIR(status.st_mode)) {
      attach(make_mount("tmpfs", {{"size", "0"}}, MOUNT_ATTR_RDONLY), root, path);
    } else {
      int tree = clone_tree("/dev/null");
      if (tree < 0) die("open_tree null");
      attach(tree, root, path);
    }
  }
  for (const char* path : {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"}) {
    int tree = static_cast<int>(syscall(SYS_open_tree, root, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
    if (tree < 0) continue;
    mount_attr read_only{.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
                         .attr_clr = 0,
                         .propagation = 0,
                         .userns_fd = 0};
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &read_only, sizeof read_only))
      die("mount_setattr");
    attach(tree, root, path);
  }
}

sock_fprog map_filter(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (fd < 0 || fstat(fd, &status)) die(path.c_str());
  void* code = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
  close(fd);
  return {static_cast<unsigned short>(static_cast<size_t>(status.st_size) / sizeof(sock_filter)),
          static_cast<sock_filter*>(code)};
}

void drop_privileges(sock_fprog filter) {
  for (int cap = 0; cap < 64; ++cap)
    if (!(kDefaultCaps >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL) die("capbset_drop");
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter)) die("seccomp");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {{kDefaultCaps & 0xffffffff, kDefaultCaps & 0xffffffff, 0}, {0, 0, 0}};
  if (syscall(SYS_capset, &header, data)) die("capset");
}

[[noreturn]] void run_inside(const Options& options, const Cgroups& groups, int rootfs, int ready,
                             const std::vector<std::string>& files) {
  sock_fprog filter = map_filter(options.bpf);
  join_cgroups(groups);
  if (unshare(CLONE_NEWCGROUP)) die("unshare cgroup");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr)) die("make private");
  int root = rootfs;
  // Clones of host files must be taken before the old root is out of sight.
  int etc[3];
  for (int i = 0; i < 3; ++i)
    if ((etc[i] = clone_tree(files[static_cast<size_t>(i)].c_str())) < 0) die("open_tree file");
  constexpr unsigned kFlags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (sys_move_mount(root, AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH)) die("attach root");
  attach(make_mount("proc", {}, kFlags), root, "proc");
  make_dev(root);
  attach(make_mount("sysfs", {}, kFlags | MOUNT_ATTR_RDONLY), root, "sys");
  make_cgroup_view(root, groups);
  const char* const names[] = {"etc/hosts", "etc/hostname", "etc/resolv.conf"};
  for (int i = 0; i < 3; ++i) {
    close(openat(root, names[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    attach(etc[i], root, names[i]);
  }
  mask_paths(root);
  if (fchdir(root) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/")) die("pivot_root");
  if (sethostname("floor", 5)) die("sethostname");
  char byte;
  if (read(ready, &byte, 1) != 1) die("read ready");
  if (options.net == "bridge") {
    floor_net::configure_inside(options.address, 16, options.gateway);
  } else {
    floor_net::configure_loopback();
  }
  setsid();
  drop_privileges(filter);
  char path[] = "PATH=/bin";
  char* env[] = {path, nullptr};
  execve(("/bin/" + std::string(options.command[0])).c_str(), const_cast<char**>(options.command.data()), env);
  die("execve");
}

int make_filter(const char* path) {
  scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  // About as many rules as the default profile has.
  for (int number = 0; number < 460; ++number) {
    char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    if (!name) continue;
    bool refused = false;
    for (const char* other : {"mount", "umount2", "bpf", "keyctl", "add_key", "setns", "unshare", "reboot",
                              "kexec_load", "init_module", "swapon", "acct"})
      if (strcmp(name, other) == 0) refused = true;
    if (!refused) seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0);
    free(name);
  }
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || seccomp_export_bpf(context, fd)) die("export filter");
  return 0;
}

Options parse(int argc, char** argv) {
  Options o;
  int i = 1;
  for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
    std::string key = argv[i], value = argv[i + 1];
    if (key == "--lower")
      o.lowers.push_back(value);
    else if (key == "--scratch")
      o.scratch = value;
    else if (key == "--bpf")
      o.bpf = value;
    else if (key == "--net")
      o.net = value;
    else if (key == "--bridge")
      o.bridge = value;
    else if (key == "--address")
      o.address = value;
    else if (key == "--gateway")
      o.gateway = value;
  }
  for (; i < argc; ++i) o.command.push_back(argv[i]);
  if (o.command.empty() || o.lowers.empty() || o.scratch.empty() || o.bpf.empty()) {
    fprintf(stderr, "floor: see the head of floor.cc\n");
    _exit(125);
  }
  o.command.push_back(nullptr);
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "--make-bpf") == 0) return make_filter(argv[2]);
  Options options = parse(argc, argv);
  std::string id = "floor-" + std::to_string(getpid());
  std::string dir = options.scratch + "/" + id, upper = dir + "/upper", work = dir + "/work";
  if (mkdir(dir.c_str(), 0700) || mkdir(upper.c_str(), 0755) || mkdir(work.c_str(), 0700)) die(dir.c_str());
  std::vector<std::string> files = {dir + "/hosts", dir + "/hostname", dir + "/resolv.conf"};
  for (const std::string& file : files) {
    int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, "127.0.0.1\tlocalhost\n", 20) != 20) die(file.c_str());
    close(fd);
  }
  std::vector<std::pair<const char*, const char*>> overlay;
  for (const std::string& lower : options.lowers) overlay.push_back({"lowerdir+", lower.c_str()});
  overlay.push_back({"upperdir", upper.c_str()});
  overlay.push_back({"workdir", work.c_str()});
  overlay.push_back({"volatile", nullptr});
  int rootfs = make_mount("overlay", overlay, 0);
  Cgroups groups = make_cgroups(id);

  int ready[2];
  if (pipe2(ready, O_CLOEXEC)) die("pipe2");
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  pid_t pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (pid < 0) die("clone3");
  if (pid == 0) run_inside(options, groups, rootfs, ready[0], files);
  close(rootfs);
  std::string veth = "fl" + std::to_string(getpid());
  int events = -1;
  if (options.net == "bridge") {
    int netns = open(("/proc/" + std::to_string(pid) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
    if (netns < 0) die("open netns");
    events = floor_net::create_veth(veth, static_cast<int>(if_nametoindex(options.bridge.c_str())), netns);
    close(netns);
  }
  if (write(ready[1], "x", 1) != 1) die("write ready");
  if (events >= 0) floor_net::wait_until_up(events, veth);

  siginfo_t info{};
  if (waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED)) die("waitid");
  for (const std::string& group : groups.dirs)
    if (rmdir(group.c_str())) die(group.c_str());
  std::string inner = work + "/work", incompat = inner + "/incompat", mark = incompat + "/volatile",
              dirty = mark + "/dirty";
  for (const std::string& path : {dirty, mark, incompat, inner, work}) remove(path.c_str());
  for (const char* name : {"hosts", "hostname", "resolv.conf"}) {
    unlink((upper + "/etc/" + name).c_str());
    unlink((dir + "/" + name).c_str());
  }
  rmdir((upper + "/etc").c_str());
  rmdir(upper.c_str());
  if (rmdir(dir.c_str())) die("rmdir scratch");
  return info.si_status;
}
