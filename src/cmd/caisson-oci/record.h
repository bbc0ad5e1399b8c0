// SPDX-License-Identifier: Apache-2.0
// What is remembered of a container between calls: one directory per container below the root, with
//   state.json    a Record; pid 0 until there is a process
//   seccomp.bpf   the compiled filter, for exec
//   start.sock    the gate where the created process waits; gone once it is started
//   criu.pid      during a restore
// The directory itself is what commands that change a container lock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/container.h"
#include "spec/oci_runtime.h"
#include "sys/cgroup.h"

namespace caisson {
CAISSON_JSON(sys::CgroupPaths, CAISSON_FIELD_OMIT("v2", v2), CAISSON_FIELD("dirs", dirs),
             CAISSON_FIELD("controllers", controllers))
CAISSON_JSON(runtime::Hook, CAISSON_FIELD("path", path), CAISSON_FIELD_OMIT("args", args),
             CAISSON_FIELD_OMIT("env", env), CAISSON_FIELD_OMIT("timeout", timeout_s))
}  // namespace caisson

namespace caisson::oci {

struct Record {
  std::string oci_version, id, bundle, rootfs;
  int64_t pid = 0;
  uint64_t start_time = 0;  // tells the process from a later one with the same pid
  int64_t created_ns = 0;
  uint32_t owner = 0;
  std::string cgroup_path, systemd_unit;
  sys::CgroupPaths cgroup;
  bool rootless = false, no_new_keyring = false;
  std::map<std::string, std::string> annotations;
  spec::OciProcess process;  // without args and terminal: what exec begins with
  std::optional<spec::OciMemoryPolicy> memory_policy;
  std::optional<spec::OciPersonality> personality;
  bool has_filter = false;
  uint32_t seccomp_flags = 0;
  std::string listener_path, listener_metadata;
  std::vector<spec::OciNamespace> namespaces;
  std::vector<runtime::Hook> poststart, poststop;
};
CAISSON_JSON(Record, CAISSON_FIELD("ociVersion", oci_version), CAISSON_FIELD("id", id), CAISSON_FIELD("bundle", bundle),
             CAISSON_FIELD("rootfs", rootfs), CAISSON_FIELD("pid", pid), CAISSON_FIELD("startTime", start_time),
             CAISSON_FIELD("created", created_ns), CAISSON_FIELD_OMIT("owner", owner),
             CAISSON_FIELD("cgroupPath", cgroup_path), CAISSON_FIELD_OMIT("systemdUnit", systemd_unit),
             CAISSON_FIELD("cgroup", cgroup), CAISSON_FIELD_OMIT("rootless", rootless),
             CAISSON_FIELD_OMIT("noNewKeyring", no_new_keyring), CAISSON_FIELD_OMIT("annotations", annotations),
             CAISSON_FIELD("process", process), CAISSON_FIELD_OMIT("memoryPolicy", memory_policy),
             CAISSON_FIELD_OMIT("personality", personality), CAISSON_FIELD_OMIT("hasFilter", has_filter),
             CAISSON_FIELD_OMIT("seccompFlags", seccomp_flags), CAISSON_FIELD_OMIT("listenerPath", listener_path),
             CAISSON_FIELD_OMIT("listenerMetadata", listener_metadata), CAISSON_FIELD_OMIT("namespaces", namespaces),
             CAISSON_FIELD_OMIT("poststart", poststart), CAISSON_FIELD_OMIT("poststop", poststop))

Result<> check_id(const std::string& id);

class Directory {
 public:
  // Makes the directory and locks it. kExists when a container of that name is there already.
  static Result<Directory> create(const std::string& root, const std::string& id);
  // kNotFound "container does not exist".
  static Result<Directory> open(const std::string& root, const std::string& id);

  const std::string& path() const { return path_; }
  std::string gate() const { return path_ + "/start.sock"; }
  Result<> lock();  // waits for other commands that change the container
  Result<> unlock();
  bool gone() const;                          // somebody deleted the container
  Result<> save_first(const Record& record);  // into a directory that nobody looks into yet
  Result<> save(const Record& record);
  Result<> save_filter(const std::string& bpf);
  Result<std::string> load_filter() const;
  Result<Record> load() const;  // kNotFound for a half-made container
  Result<> remove();

 private:
  Directory(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  UniqueFd fd_;
};

// The record alone; neither waits nor locks.
Result<Record> load_record(const std::string& root, const std::string& id);

enum class Status : uint8_t { kCreating, kCreated, kRunning, kPaused, kStopped };
const char* status_name(Status status);
// `directory` is that of the container.
Result<Status> status_of(const std::string& directory, const Record& record);
bool is_alive(const Record& record);
// `stat` is /proc/PID/stat. Pure.
bool lives_by_stat(std::string_view stat, uint64_t start_time);
// The pidfd of the container's first process; nothing when it has ended.
std::optional<UniqueFd> open_process(const Record& record);

runtime::HookState hook_state(const Record& record);
// Runs them; a failure is the Result's.
Result<> run_record_hooks(const Record& record, const std::vector<runtime::Hook>& hooks, const char* kind,
                          const char* status);

}  // namespace caisson::oci
