// SPDX-License-Identifier: Apache-2.0
#include "record.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdlib>

#include "base/text.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::oci {

namespace {

constexpr const char* kRecordName = "state.json";
constexpr const char* kNextName = "state.next";
constexpr const char* kFilterName = "seccomp.bpf";
constexpr const char* kGateName = "start.sock";
constexpr const char* kCriuPidName = "criu.pid";
constexpr size_t kMaxRecord = 20 << 20;

Result<> write_new(int dir, const char* name, const std::string& data) {
  auto fd = TRY(sys::open_at(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  return sys::write_all(fd.get(), data);
}

Result<Record> parse_record(const std::string& text) {
  auto record = json::decode<Record>(text);
  if (!record) return with_context(std::move(record).error(), "state of the container");
  return record;
}

std::unexpected<Error> absent(std::string_view id) {
  return fail(ErrorKind::kNotFound, "container does not exist: %s", quoted(id).c_str());
}

}  // namespace

Result<> check_id(const std::string& id) {
  if (id.empty()) return fail(ErrorKind::kInvalid, "container id cannot be empty");
  bool ok = id.size() <= 255 && id != "." && id != "..";
  for (char c : id)
    ok &= isalnum(static_cast<unsigned char>(c)) || (c && std::string_view("_+-.").find(c) != std::string_view::npos);
  if (!ok) return fail(ErrorKind::kInvalid, "invalid container ID format: %s", quoted(id).c_str());
  return {};
}

Result<Directory> Directory::create(const std::string& root, const std::string& id) {
  TRY(check_id(id));
  std::string path = root + "/" + id;
  int made = mkdir(path.c_str(), 0700);
  if (made < 0 && errno == ENOENT) {
    TRY(sys::make_dirs(root, 0711));
    made = mkdir(path.c_str(), 0700);
  }
  if (made < 0) {
    if (errno == EEXIST)
      return fail(ErrorKind::kExists, "container with given ID already exists: %s", quoted(id).c_str());
    return fail_errno("mkdir '%s'", path.c_str());
  }
  auto fd = sys::open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd) {
    rmdir(path.c_str());
    return std::unexpected(std::move(fd).error());
  }
  Directory directory(std::move(path), std::move(*fd));
  TRY(directory.lock());
  return directory;
}

Result<Directory> Directory::open(const std::string& root, const std::string& id) {
  TRY(check_id(id));
  std::string path = root + "/" + id;
  auto fd = sys::open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd) {
    if (fd.error().err == ENOENT) return absent(id);
    return std::unexpected(std::move(fd).error());
  }
  return Directory(std::move(path), std::move(*fd));
}

Result<> Directory::lock() {
  while (flock(fd_.get(), LOCK_EX) < 0)
    if (errno != EINTR) return fail_errno("lock '%s'", path_.c_str());
  return {};
}

// Not by closing: a process that is being cloned may still hold the same open file.
Result<> Directory::unlock() {
  if (flock(fd_.get(), LOCK_UN) < 0) return fail_errno("unlock '%s'", path_.c_str());
  return {};
}

bool Directory::gone() const {
  struct stat st;
  return fstat(fd_.get(), &st) == 0 && st.st_nlink == 0;
}

Result<> Directory::save_first(const Record& record) { return write_new(fd_.get(), kRecordName, json::encode(record)); }

// No fsync: what is kept here is worth nothing after a reboot.
Result<> Directory::save(const Record& record) {
  TRY(write_new(fd_.get(), kNextName, json::encode(record)));
  if (renameat(fd_.get(), kNextName, fd_.get(), kRecordName) < 0)
    return fail_errno("rename '%s/%s'", path_.c_str(), kNextName);
  return {};
}

Result<> Directory::save_filter(const std::string& bpf) { return write_new(fd_.get(), kFilterName, bpf); }

Result<std::string> Directory::load_filter() const {
  auto fd = TRY(sys::open_at(fd_.get(), kFilterName, O_RDONLY | O_NOFOLLOW));
  return sys::read_fd(fd.get(), 1 << 20);
}

Result<Record> Directory::load() const {
  auto fd = sys::open_at(fd_.get(), kRecordName, O_RDONLY | O_NOFOLLOW);
  if (!fd) {
    if (fd.error().err == ENOENT) return absent(path_.substr(path_.rfind('/') + 1));
    return std::unexpected(std::move(fd).error());
  }
  return parse_record(TRY(sys::read_fd(fd->get(), kMaxRecord)));
}

// Name by name: whatever else should have come to lie here is not ours to delete.
Result<> Directory::remove() {
  for (const char* name : {kRecordName, kNextName, kFilterName, kGateName, kCriuPidName})
    if (unlinkat(fd_.get(), name, 0) < 0 && errno != ENOENT) return fail_errno("unlink '%s/%s'", path_.c_str(), name);
  if (rmdir(path_.c_str()) < 0 && errno != ENOENT) return fail_errno("rmdir '%s'", path_.c_str());
  return {};
}

Result<Record> load_record(const std::string& root, const std::string& id) {
  TRY(check_id(id));
  auto text = sys::read_file(root + "/" + id + "/" + kRecordName, kMaxRecord);
  if (!text) {
    if (text.error().err == ENOENT || text.error().err == ENOTDIR) return absent(id);
    return std::unexpected(std::move(text).error());
  }
  return parse_record(*text);
}

const char* status_name(Status status) {
  switch (status) {
    case Status::kCreating: return "creating";
    case Status::kCreated: return "created";
    case Status::kRunning: return "running";
    case Status::kPaused: return "paused";
    case Status::kStopped: break;
  }
  return "stopped";
}

bool is_alive(const Record& record) {
  if (record.pid <= 0) return false;
  auto stat = sys::read_file(format("/proc/%ld/stat", static_cast<long>(record.pid)), 4096);
  return stat && lives_by_stat(*stat, record.start_time);
}

bool lives_by_stat(std::string_view stat, uint64_t start_time) {
  constexpr uint64_t kExiting = 4;  // PF_EXITING of linux/sched.h
  // The command's name may hold anything; fields count from behind its last parenthesis: 3 is the state.
  size_t at = stat.rfind(')');
  if (at == std::string_view::npos || at + 2 >= stat.size()) return false;
  auto fields = split(stat.substr(at + 2), ' ');
  if (fields.size() < 20 || fields[0] == "Z" || fields[0] == "X") return false;
  // The first process of a pid namespace stays like this, though ended, until the others are waited for.
  if (parse_uint(fields[6]).value_or(0) & kExiting) return false;
  return parse_uint(fields[19]) == start_time;
}

std::optional<UniqueFd> open_process(const Record& record) {
  if (record.pid <= 0) return std::nullopt;
  auto pidfd = sys::open_pidfd(static_cast<pid_t>(record.pid));
  // The pidfd first, then the comparison: what it names cannot change any more.
  if (!pidfd || !is_alive(record)) return std::nullopt;
  return std::move(*pidfd);
}

Result<Status> status_of(const std::string& directory, const Record& record) {
  if (record.pid == 0) {
    // Whoever makes the container holds the lock; without one it will never be finished.
    auto fd = sys::open_file(directory, O_RDONLY | O_DIRECTORY);
    bool abandoned = fd && flock(fd->get(), LOCK_SH | LOCK_NB) == 0;
    return abandoned ? Status::kStopped : Status::kCreating;
  }
  if (!is_alive(record)) return Status::kStopped;
  if (!record.cgroup.empty()) {
    auto frozen = sys::cgroup_frozen(record.cgroup);
    if (frozen && *frozen) return Status::kPaused;
  }
  std::string gate = directory + "/start.sock";
  if (access(gate.c_str(), F_OK) == 0 && runtime::waits_for_start(gate)) return Status::kCreated;
  return Status::kRunning;
}

runtime::HookState hook_state(const Record& record) {
  runtime::HookState state{record.oci_version, record.id, record.bundle, {}};
  state.annotations.assign(record.annotations.begin(), record.annotations.end());
  return state;
}

Result<> run_record_hooks(const Record& record, const std::vector<runtime::Hook>& hooks, const char* kind,
                          const char* status) {
  if (hooks.empty()) return {};
  auto pid = std::string_view(status) == "stopped" ? 0 : static_cast<pid_t>(record.pid);
  return runtime::run_hooks(hooks, kind, runtime::hook_state_json(hook_state(record), status, pid), record.bundle);
}

}  // namespace caisson::oci
