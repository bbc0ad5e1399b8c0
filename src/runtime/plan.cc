// SPDX-License-Identifier: Apache-2.0
// One list of fields per struct serves both directions of the codec.
#include "runtime/plan.h"

#include <bit>
#include <cstring>
#include <type_traits>

namespace caisson::runtime {

namespace {

constexpr uint32_t kPlanMagic = 0x43504c32, kProcessMagic = 0x43505232;
// A hostile or torn message must not make us reserve more than it could fill.
constexpr uint32_t kMaxItems = 65536;

static_assert(std::endian::native == std::endian::little, "the codec writes native integers");

class Writer {
 public:
  static constexpr bool kReading = false;
  template <class T>
  void number(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(const std::string& value) {
    number(static_cast<uint32_t>(value.size()));
    out_ += value;
  }
  bool ok() const { return true; }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  static constexpr bool kReading = true;
  explicit Reader(std::string_view in) : in_(in) {}
  template <class T>
  void number(T& value) {
    if (in_.size() < sizeof value) return give_up();
    memcpy(&value, in_.data(), sizeof value);
    in_.remove_prefix(sizeof value);
  }
  void text(std::string& value) {
    uint32_t size = 0;
    number(size);
    if (size > in_.size()) return give_up();
    value.assign(in_.substr(0, size));
    in_.remove_prefix(size);
  }
  size_t left() const { return in_.size(); }
  bool ok() const { return ok_; }
  void give_up() {
    ok_ = false;
    in_ = {};
  }

 private:
  std::string_view in_;
  bool ok_ = true;
};

template <class Io, class T>
void item(Io& io, T& value);

template <class Io, class T>
void sequence(Io& io, std::vector<T>& values) {
  if constexpr (Io::kReading) {
    uint32_t count = 0;
    io.number(count);
    // Every item takes a byte at least.
    if (count > kMaxItems || count > io.left()) return io.give_up();
    for (uint32_t i = 0; i < count && io.ok(); ++i) item(io, values.emplace_back());
  } else {
    io.number(static_cast<uint32_t>(values.size()));
    for (auto& value : values) item(io, value);
  }
}

template <class Io, class T>
void maybe(Io& io, std::optional<T>& value) {
  uint8_t present = value.has_value();
  io.number(present);
  if constexpr (Io::kReading) {
    if (present > 1) return io.give_up();
    if (present) item(io, value.emplace());
  } else if (present) {
    item(io, *value);
  }
}

template <class Io, class... T>
void all(Io& io, T&... values) {
  (item(io, values), ...);
}

template <class Io>
void fields(Io& io, ResourceLimit& v) {
  all(io, v.resource, v.soft, v.hard);
}
template <class Io>
void fields(Io& io, NamespaceJoin& v) {
  all(io, v.type, v.path);
}
template <class Io>
void fields(Io& io, Device& v) {
  all(io, v.path, v.mode, v.major, v.minor, v.uid, v.gid);
}
template <class Io>
void fields(Io& io, IdMapping& v) {
  all(io, v.container_id, v.host_id, v.size);
}
template <class Io>
void fields(Io& io, Mount& v) {
  all(io, v.kind, v.destination, v.type, v.source, v.beneath, v.data, v.set_attributes, v.clear_attributes,
      v.set_attributes_recursive, v.clear_attributes_recursive, v.propagation, v.propagation_recursive, v.recursive,
      v.copy_up, v.id_mapped, v.id_mapped_recursive, v.uid_mappings, v.gid_mappings);
}
template <class Io>
void fields(Io& io, sys::CgroupHierarchy& v) {
  all(io, v.mount_point, v.controllers, v.root, v.own);
}
template <class Io>
void fields(Io& io, sys::CgroupSystem& v) {
  all(io, v.v2, v.hierarchies);
}
template <class Io>
void fields(Io& io, sys::DeviceRule& v) {
  all(io, v.allow, v.type, v.major, v.minor, v.read, v.write, v.mknod);
}
template <class Io>
void fields(Io& io, sys::BlockThrottle& v) {
  all(io, v.major, v.minor, v.rate);
}
template <class Io>
void fields(Io& io, sys::HugePageLimit& v) {
  all(io, v.page_size, v.limit);
}
template <class Io>
void fields(Io& io, std::pair<std::string, std::string>& v) {
  all(io, v.first, v.second);
}
template <class Io>
void fields(Io& io, std::pair<std::string, uint32_t>& v) {
  all(io, v.first, v.second);
}
template <class Io>
void fields(Io& io, sys::RdmaLimit& v) {
  all(io, v.device, v.handles, v.objects);
}
template <class Io>
void fields(Io& io, sys::CgroupLimits& v) {
  all(io, v.memory, v.memory_swap, v.memory_reservation, v.memory_swappiness, v.memory_kernel_tcp, v.oom_kill_disable,
      v.memory_check_before_update, v.cpu_shares, v.cpu_quota, v.cpu_period, v.cpu_burst, v.cpu_realtime_runtime,
      v.cpu_realtime_period, v.cpu_idle, v.cpuset_cpus, v.cpuset_mems, v.pids, v.blkio_weight, v.blkio_leaf_weight,
      v.blkio_weight_devices, v.blkio_leaf_weight_devices, v.read_bps, v.write_bps, v.read_iops, v.write_iops,
      v.huge_pages, v.net_class_id, v.net_priorities, v.rdma, v.devices, v.unified);
}
template <class Io>
void fields(Io& io, sys::SystemdProperty& v) {
  all(io, v.name, v.signature, v.values);
}
template <class Io>
void fields(Io& io, CgroupPlan& v) {
  all(io, v.path, v.system, v.limits, v.systemd_program, v.systemd_user, v.systemd_properties, v.take_over, v.optional);
}
template <class Io>
void fields(Io& io, SchedulerPlan& v) {
  all(io, v.policy, v.flags, v.nice, v.priority, v.runtime, v.deadline, v.period);
}
template <class Io>
void fields(Io& io, MemoryPolicyPlan& v) {
  all(io, v.mode, v.nodes);
}
template <class Io>
void fields(Io& io, TimeOffset& v) {
  all(io, v.clock, v.seconds, v.nanoseconds);
}
template <class Io>
void fields(Io& io, Hook& v) {
  all(io, v.path, v.args, v.env, v.timeout_s);
}
template <class Io>
void fields(Io& io, Hooks& v) {
  all(io, v.prestart, v.create_runtime, v.create_container, v.start_container, v.poststart, v.poststop);
}
template <class Io>
void fields(Io& io, ProcessPlan& v) {
  all(io, v.args, v.env, v.cwd, v.uid, v.gid, v.additional_gids, v.cap_effective, v.cap_permitted, v.cap_inheritable,
      v.cap_bounding, v.cap_ambient, v.no_new_privs, v.rlimits, v.oom_score_adj, v.umask, v.seccomp_bpf,
      v.seccomp_flags, v.apparmor_profile, v.selinux_label, v.terminal, v.rows, v.columns, v.scheduler, v.io_priority,
      v.initial_affinity, v.final_affinity, v.memory_policy, v.personality, v.session_keyring, v.seccomp_listener_path,
      v.seccomp_listener_metadata, v.preserve_fds);
}
template <class Io>
void fields(Io& io, Plan& v) {
  all(io, v.id, v.process, v.create_namespaces, v.join_namespaces, v.hostname, v.domainname, v.rootfs, v.readonly_root,
      v.root_propagation, v.mounts, v.masked_paths, v.readonly_paths, v.devices, v.default_dev_links, v.sysctls,
      v.cgroup, v.uid_mappings, v.gid_mappings, v.new_session_keyring, v.time_offsets, v.net_devices, v.no_pivot,
      v.rootless, v.oci_version, v.bundle, v.annotations, v.hooks);
}

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <class Io, class T>
void item(Io& io, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    uint8_t byte = value;
    io.number(byte);
    if constexpr (Io::kReading) {
      if (byte > 1) return io.give_up();
      value = byte;
    }
  } else if constexpr (std::is_same_v<T, Mount::Kind>) {
    auto byte = static_cast<uint8_t>(value);
    io.number(byte);
    if constexpr (Io::kReading) {
      if (byte > static_cast<uint8_t>(Mount::Kind::kCgroup)) return io.give_up();
      value = static_cast<Mount::Kind>(byte);
    }
  } else if constexpr (std::is_integral_v<T>) {
    io.number(value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    io.text(value);
  } else if constexpr (IsVector<T>::value) {
    sequence(io, value);
  } else if constexpr (IsOptional<T>::value) {
    maybe(io, value);
  } else {
    fields(io, value);
  }
}

template <class T>
std::string encode_with(uint32_t magic, const T& value) {
  Writer writer;
  writer.number(magic);
  item(writer, const_cast<T&>(value));  // writing never changes the value
  return writer.take();
}

template <class T>
Result<T> decode_with(uint32_t magic, std::string_view bytes) {
  if (bytes.size() > kMaxPlanBytes)
    return fail(ErrorKind::kCorrupt, "decode plan: longer than %zu bytes", kMaxPlanBytes);
  Reader reader(bytes);
  uint32_t found = 0;
  reader.number(found);
  if (found != magic) return fail(ErrorKind::kCorrupt, "decode plan: not a plan of this version");
  T value;
  item(reader, value);
  if (!reader.ok() || reader.left() != 0) return fail(ErrorKind::kCorrupt, "decode plan: malformed");
  return value;
}

}  // namespace

std::string encode(const Plan& plan) { return encode_with(kPlanMagic, plan); }
Result<Plan> decode_plan(std::string_view bytes) { return decode_with<Plan>(kPlanMagic, bytes); }
std::string encode(const ProcessPlan& process) { return encode_with(kProcessMagic, process); }
Result<ProcessPlan> decode_process_plan(std::string_view bytes) {
  return decode_with<ProcessPlan>(kProcessMagic, bytes);
}

}  // namespace caisson::runtime
