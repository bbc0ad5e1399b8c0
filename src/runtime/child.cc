// SPDX-License-Identifier: Apache-2.0
// Order of the child's steps, and its end of the sync socket.
#include "runtime/child.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/container.h"
#include "sys/raw_calls.h"

namespace caisson::runtime {

namespace raw = sys::raw;

namespace {

constexpr long kDevptsMagic = 0x1cd1;

void copy_text(char* to, size_t size, const char* from) {
  size_t length = strnlen(from, size - 1);
  memcpy(to, from, length);
  to[length] = 0;
}

// write(2) on the seqpacket socket rather than send(2): a profile that is loaded already may refuse
// socket calls, and hardly any refuses write.
void send_plain(const ChildSetup& setup, const ChildMessage& message) {
  while (write(setup.sync, &message, sizeof message) < 0 && errno == EINTR) {
  }
}

// The parent's death ends us too.
void wait_for(ChildSetup& setup, ParentMessage::Kind kind) {
  for (;;) {
    if (kind == ParentMessage::Kind::kRecorded && setup.recorded) return;
    ParentMessage message;
    ssize_t got;
    while ((got = read(setup.sync, &message, sizeof message)) < 0 && errno == EINTR) {
    }
    if (got != sizeof message) _exit(1);
    if (message.kind == ParentMessage::Kind::kRecorded) {
      setup.recorded = true;
      setup.outer_pid = message.pid;
    } else if (message.kind == kind) {
      return;
    }
  }
}

void ask_parent(ChildSetup& setup, ChildMessage::Kind kind) {
  ChildMessage message;
  message.kind = kind;
  child_ask_parent(setup, message);
}

// Exec would close them, but that may be far: among them are copies of our creator's standard streams, whose
// reader waits for their end, and files of the host.
void let_go_while_waiting(const ChildSetup& setup) {
  unsigned low = static_cast<unsigned>(setup.gate), high = static_cast<unsigned>(setup.process.proc.get());
  if (low > high) {
    unsigned other = low;
    low = high;
    high = other;
  }
  unsigned first = 3 + setup.process.plan->preserve_fds;
  auto drop = [](unsigned from, unsigned to) {
    if (from <= to) raw::close_range(from, to, 0);
  };
  drop(first, low - 1);
  drop(low + 1 > first ? low + 1 : first, high - 1);
  drop(high + 1 > first ? high + 1 : first, ~0u);
}

// Whoever created us may be gone when the order to start comes, so it comes to a socket of our own. A
// connection without an order only looked whether we wait.
void wait_at_gate(ChildSetup& setup) {
  ChildMessage message;
  send_plain(setup, message);
  wait_for(setup, ParentMessage::Kind::kRecorded);
  close(setup.sync);
  let_go_while_waiting(setup);
  fcntl(setup.gate, F_SETFL, 0);  // it may have come to us non-blocking
  for (;;) {
    int connection = accept4(setup.gate, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (connection < 0) _exit(1);
    ParentMessage order;
    ssize_t got;
    while ((got = read(connection, &order, sizeof order)) < 0 && errno == EINTR) {
    }
    if (got == sizeof order && order.kind == ParentMessage::Kind::kGoOn) {
      setup.sync = connection;
      return;
    }
    close(connection);
  }
}

void set_oom_score(const ChildSetup& setup, int score) {
  char text[16];
  char* at = text + sizeof text;
  *--at = 0;
  bool negative = score < 0;
  unsigned rest = negative ? -static_cast<unsigned>(score) : static_cast<unsigned>(score);
  do *--at = static_cast<char>('0' + rest % 10);
  while (rest /= 10);
  if (negative) *--at = '-';
  int fd = child_open_own(setup, "oom_score_adj", O_WRONLY);
  bool written = fd >= 0 && write(fd, at, strlen(at)) >= 0;
  // An ordinary user may not lower it, and nobody can help that.
  bool ordinary = geteuid() != 0 || (setup.plan && setup.plan->rootless);
  if (!written && !(ordinary && (errno == EACCES || errno == EPERM)))
    child_fail(setup, "write", "/proc/self/oom_score_adj");
  close(fd);
}

void join_namespaces(const ChildSetup& setup) {
  if (setup.container >= 0) {
    // The pid namespace is ours by birth. The cgroup namespace comes along; the cgroup itself was joined before.
    if (setup.container_namespaces && setns(setup.container, static_cast<int>(setup.container_namespaces)) < 0)
      child_fail(setup, "setns to the namespaces of the container");
    return;
  }
  if (setup.joins_done) return;
  for (const auto& join : setup.joins)
    if (setns(join.fd.get(), static_cast<int>(join.type)) < 0)
      child_fail(setup, "join the namespace of type", namespace_name(join.type));
}

bool groups_may_be_set() {
  char text[8] = {};
  int fd = open("/proc/self/setgroups", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return true;
  ssize_t got = read(fd, text, sizeof text);
  close(fd);
  return got < 4 || memcmp(text, "deny", 4) != 0;
}

void become_root(const ChildSetup& setup) {
  // Mapped ids of our own: without them every file we make would belong to nobody.
  if (raw::set_gid(setup.root_gid) < 0 || (groups_may_be_set() && raw::set_groups(0, nullptr) < 0) ||
      raw::set_uid(setup.root_uid) < 0)
    child_fail(setup, "become root of the user namespace");
  prctl(PR_SET_DUMPABLE, 0);
}

// COMPAT(linux<6.3): exec does not enter the namespace for children there, and the offsets are without effect.
void make_time_namespace(const ChildSetup& setup) {
  if (setup.own_time_offsets.empty()) return;
  if (unshare(0x80 /* CLONE_NEWTIME */) < 0) child_fail(setup, "unshare the time namespace");
  prctl(PR_SET_DUMPABLE, 1);  // who is not dumpable does not own the files of /proc/self
  int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, setup.own_time_offsets.data(), setup.own_time_offsets.size()) < 0)
    child_fail(setup, "write", "/proc/self/timens_offsets");
  prctl(PR_SET_DUMPABLE, 0);
  close(fd);
}

void join_keyring(const ChildSetup& setup) {
  const char* name = setup.keyring.empty() ? nullptr : setup.keyring.c_str();
  long ring = raw::join_session_keyring(name);
  // ENOSYS: a kernel without keyrings has none to leak.
  if (ring < 0 && errno != ENOSYS) child_fail(setup, "join a session keyring");
  // A new one cannot be found by its name: besides what it has, its user may search it.
  constexpr uint32_t kPossessorAll = 0x3f000000, kUserViewReadSearchLink = 0x001b0000;
  if (ring > 0 && setup.plan && name && raw::set_key_permissions(ring, kPossessorAll | kUserViewReadSearchLink) < 0)
    child_fail(setup, "set the permissions of the session keyring");
}

void set_up_loopback(const ChildSetup& setup) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0) child_fail(setup, "set up the loopback interface");
  close(fd);
}

// Without a mount namespace of its own there is nothing to pivot in.
void enter_plain_root(const ChildSetup& setup) {
  const char* root = setup.plan->rootfs.c_str();
  if (chdir(root) < 0 || chroot(".") < 0) child_fail(setup, "chroot", root);
}

void run_own_hooks(const ChildSetup& setup, const std::vector<Hook>& hooks, const char* kind, const char* status,
                   const std::string& directory) {
  if (hooks.empty()) return;
  const Plan& plan = *setup.plan;
  auto state = hook_state_json({plan.oci_version, plan.id, plan.bundle, plan.annotations}, status, setup.outer_pid);
  if (auto done = run_hooks(hooks, kind, state, directory); !done) child_fail(setup, done.error());
}

void run_hooks_before_pivot(ChildSetup& setup) {
  const Hooks& hooks = setup.plan->hooks;
  if (!hooks.prestart.empty() || !hooks.create_runtime.empty()) ask_parent(setup, ChildMessage::Kind::kRuntimeHooks);
  if (hooks.create_container.empty()) return;
  wait_for(setup, ParentMessage::Kind::kRecorded);
  run_own_hooks(setup, hooks.create_container, "createContainer", "creating", setup.plan->bundle);
}

}  // namespace

void child_fail(const ChildSetup& setup, Failure failure, const char* step, const char* object, int mount_context) {
  ChildMessage message;
  message.err = errno;
  message.kind = ChildMessage::Kind::kError;
  message.failure = failure;
  copy_text(message.step, sizeof message.step, step);
  copy_text(message.object, sizeof message.object, object);
  if (mount_context >= 0) {
    // "e cgroup: Unknown parameter": one message per read, class letter in front.
    ssize_t got = read(mount_context, message.reason, sizeof message.reason - 1);
    message.reason[got > 0 ? got : 0] = 0;
  }
  send_plain(setup, message);
  _exit(1);
}

void child_tell_parent(const ChildSetup& setup, const ChildMessage& message) { send_plain(setup, message); }

void child_wait_for_consent(ChildSetup& setup) { wait_for(setup, ParentMessage::Kind::kGoOn); }

void child_ask_parent(ChildSetup& setup, const ChildMessage& message) {
  send_plain(setup, message);
  wait_for(setup, ParentMessage::Kind::kGoOn);
}

void child_fail(const ChildSetup& setup, const Error& error) {
  ChildMessage message;
  message.kind = ChildMessage::Kind::kError;
  message.failure = Failure::kText;
  message.err = error.err;
  copy_text(message.object, sizeof message.object, error.message.c_str());
  send_plain(setup, message);
  _exit(1);
}

int child_open_terminal(const ChildSetup& setup, int root) {
  int master = raw::open_in_root(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY, 0, RESOLVE_NO_SYMLINKS);
  struct statfs info {};
  if (master < 0 || fstatfs(master, &info) < 0) child_fail(setup, "open", "/dev/pts/ptmx");
  if (info.f_type != kDevptsMagic) {
    errno = EINVAL;
    child_fail(setup, "not a devpts file system", "/dev/pts");
  }
  int unlock = 0;
  if (ioctl(master, TIOCSPTLCK, &unlock) < 0) child_fail(setup, "unlock the terminal", "/dev/pts/ptmx");
  // TIOCGPTPEER instead of the name: a name could be another file by now.
  int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) child_fail(setup, "open the terminal's other end", "/dev/pts/ptmx");
  const ProcessPlan& process = *setup.process.plan;
  if (process.rows || process.columns) {
    winsize size{};
    size.ws_row = process.rows;
    size.ws_col = process.columns;
    ioctl(slave, TIOCSWINSZ, &size);
  }
  ChildMessage message;
  message.kind = ChildMessage::Kind::kConsole;
  iovec part{&message, sizeof message};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* attached = CMSG_FIRSTHDR(&header);
  attached->cmsg_level = SOL_SOCKET;
  attached->cmsg_type = SCM_RIGHTS;
  attached->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(attached), &master, sizeof master);
  if (sendmsg(setup.sync, &header, MSG_NOSIGNAL) < 0) child_fail(setup, "send the terminal");
  close(master);
  return slave;
}

void run_child(ChildSetup& setup) {
  if (!setup.cgroups_joined) close(setup.parent_sync);
  const ProcessPlan& process = *setup.process.plan;
  umask(0);
  if (process.oom_score_adj) set_oom_score(setup, *process.oom_score_adj);
  if (!setup.cgroups_joined)
    for (const auto& tasks : setup.cgroup_tasks)
      if (write(tasks.get(), "0", 1) < 0) child_fail(setup, "join the cgroup");
  if (setup.plan && (setup.plan->create_namespaces & CLONE_NEWUSER)) ask_parent(setup, ChildMessage::Kind::kMapIds);
  if (setup.new_root) become_root(setup);
  join_namespaces(setup);
  if (setup.plan && !setup.plan->net_devices.empty()) ask_parent(setup, ChildMessage::Kind::kNetDevices);
  make_time_namespace(setup);
  int terminal = -1;
  if (setup.plan) {
    const Plan& plan = *setup.plan;
    // Only now: the root of a cgroup namespace is the cgroup its creator is in.
    if ((plan.create_namespaces & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
      child_fail(setup, "unshare the cgroup namespace");
    if (!plan.hostname.empty() && sethostname(plan.hostname.c_str(), plan.hostname.size()) < 0)
      child_fail(setup, "sethostname", plan.hostname.c_str());
    if (!plan.domainname.empty() && setdomainname(plan.domainname.c_str(), plan.domainname.size()) < 0)
      child_fail(setup, "setdomainname", plan.domainname.c_str());
    if ((plan.create_namespaces & CLONE_NEWNET) && setup.loopback) set_up_loopback(setup);
  }
  if (process.personality && personality(*process.personality) < 0) child_fail(setup, "personality");
  if (!setup.plan || setup.plan->new_session_keyring) join_keyring(setup);
  if (setsid() < 0) child_fail(setup, "setsid");
  if (setup.has_root) child_build_root(setup);
  if (setup.plan) run_hooks_before_pivot(setup);
  if (setup.has_root)
    child_pivot(setup);
  else if (setup.plan && !setup.plan->rootfs.empty())
    enter_plain_root(setup);
  if (process.terminal) {
    // With a root of our own the terminal was opened inside child_build_root's devpts, which is "/" now.
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) child_fail(setup, "open", "/");
    terminal = child_open_terminal(setup, root);
    if (setup.plan) {
      // /dev/console is the terminal; a read-only root has its /dev on a tmpfs of its own.
      int console = raw::open_in_root(root, "dev/console", O_PATH | O_NOFOLLOW);
      if (console < 0) console = raw::open_in_root(root, "dev/console", O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0620);
      if (console < 0) child_fail(setup, "open", "/dev/console");
      int mount = raw::clone_mount(terminal, false);
      if (mount < 0 || raw::attach_mount(mount, console) < 0)
        child_fail(setup, "mount the terminal on", "/dev/console");
      close(mount);
      close(console);
    }
    close(root);
  }
  child_prepare_exec(setup, terminal);
  if (setup.gate >= 0)
    wait_at_gate(setup);
  else if (setup.wait)
    ask_parent(setup, ChildMessage::Kind::kReady);
  wait_for(setup, ParentMessage::Kind::kRecorded);
  if (setup.plan) run_own_hooks(setup, setup.plan->hooks.start_container, "startContainer", "created", "/");
  child_exec(setup);
}

}  // namespace caisson::runtime
