// SPDX-License-Identifier: Apache-2.0
#include "sys/systemd_cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::sys {

namespace {

constexpr size_t kMaxAnswer = 64 << 10;

// Characters of unit names (systemd.unit(5)); the rest would have to be escaped by whoever made the name.
bool unit_characters(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view(":-_.\\@").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

struct Pipe {
  UniqueFd read, write;
};
Result<Pipe> make_pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) < 0) return fail_errno("pipe2");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

struct Answer {
  Child child;
  UniqueFd leash;
  std::string out;
};

// What the program needs to find the user's manager.
std::vector<std::string> environment() {
  std::vector<std::string> out;
  for (const char* name : {"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"})
    if (const char* value = getenv(name)) out.push_back(std::string(name) + "=" + value);
  return out;
}

// Starts the program, hands over the request and reads the answer, one line. The program may stay.
Result<Answer> ask(const SystemdManager& manager, std::vector<std::string> args, const std::string& request) {
  if (!path_exists(manager.program))
    return fail(ErrorKind::kUnavailable, "the systemd cgroup driver needs '%s'", manager.program.c_str());
  auto in = TRY(make_pipe());
  auto out = TRY(make_pipe());
  auto err = TRY(make_pipe());
  // All of it fits into the pipe, so it can be there before the reader is: no waiting, no SIGPIPE.
  int room = fcntl(in.write.get(), F_GETPIPE_SZ);
  if (room < 0 || request.size() > static_cast<size_t>(room))
    return fail(ErrorKind::kInvalid, "systemd: the unit's properties are longer than %d bytes", room);
  TRY(write_all(in.write.get(), request));
  SpawnRequest spawn_request;
  spawn_request.program = manager.program;
  spawn_request.args = {"caisson-systemd"};
  if (manager.user) spawn_request.args.push_back("--user");
  spawn_request.args.insert(spawn_request.args.end(), args.begin(), args.end());
  spawn_request.env = environment();
  spawn_request.fds = {{in.read.get(), 0}, {out.write.get(), 1}, {err.write.get(), 2}};
  Answer answer;
  answer.child = TRY_CTX(spawn(spawn_request), "start '" + manager.program + "'");
  in.read.reset();
  out.write.reset();
  err.write.reset();
  auto text = read_fd(out.read.get(), kMaxAnswer);
  if (text && text->ends_with('\n')) {
    answer.leash = std::move(in.write);
    answer.out = std::string(trim(*text));
    return answer;
  }
  in.write.reset();
  auto sentence = read_fd(err.read.get(), kMaxAnswer);
  auto code = wait_child(answer.child);
  std::string why(sentence ? trim(*sentence) : "");
  if (why.empty()) why = format("'%s' ended with status %d", manager.program.c_str(), code.value_or(-1));
  return fail(code && *code == 3   ? ErrorKind::kExists
              : code && *code == 4 ? ErrorKind::kUnavailable
                                   : ErrorKind::kInternal,
              "systemd: %s", why.c_str());
}

}  // namespace

Result<std::string> slice_path(std::string_view slice) {
  auto bad = [&] { return fail(ErrorKind::kInvalid, "invalid slice name: %s", quoted(slice).c_str()); };
  if (!slice.ends_with(".slice") || slice.size() > 255 || !unit_characters(slice)) return bad();
  auto name = slice.substr(0, slice.size() - 6);
  if (name == "-") return "/";
  std::string path, prefix;
  for (auto& part : split(name, '-')) {
    if (part.empty()) return bad();
    path += "/" + prefix + part + ".slice";
    prefix += part + "-";
  }
  return path;
}

Result<SystemdUnit> systemd_unit_of(std::string_view cgroups_path, std::string_view id, bool rootless) {
  SystemdUnit out;
  std::string prefix = "caisson", name(id);
  if (!cgroups_path.empty()) {
    auto parts = split(cgroups_path, ':');
    if (parts.size() != 3)
      return fail(ErrorKind::kInvalid,
                  "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got %s instead",
                  quoted(cgroups_path).c_str());
    out.slice = parts[0];
    prefix = parts[1];
    name = parts[2];
  }
  if (out.slice.empty()) out.slice = rootless ? "user.slice" : "system.slice";
  TRY(slice_path(out.slice));
  if (name.ends_with(".slice")) {
    TRY(slice_path(name));
    out.name = name;
    return out;
  }
  out.name = prefix + "-" + name + ".scope";
  if (name.empty() || out.name.size() > 255 || !unit_characters(out.name))
    return fail(ErrorKind::kInvalid, "cgroupsPath %s makes no unit name", quoted(cgroups_path).c_str());
  return out;
}

std::string encode_systemd_properties(const std::vector<SystemdProperty>& properties) {
  std::string out = std::to_string(properties.size()) + '\0';
  for (const auto& property : properties) {
    out += property.name + '\0' + property.signature + '\0' + std::to_string(property.values.size()) + '\0';
    for (const auto& value : property.values) out += value + '\0';
  }
  return out;
}

SystemdHolder& SystemdHolder::operator=(SystemdHolder&& other) {
  if (this != &other) {
    release();
    child_ = std::move(other.child_);
    other.child_ = {};
    leash_ = std::move(other.leash_);
  }
  return *this;
}

void SystemdHolder::release() {
  if (leash_.get() < 0) return;
  leash_.reset();
  // A container's process that waits for its start has a copy of the leash: closing ours alone ends nothing.
  // What the program had to say has been said.
  (void)signal_pidfd(child_.pidfd.get(), SIGTERM);
  (void)wait_child(child_);
}

Result<SystemdStarted> start_systemd_unit(const SystemdManager& manager, const SystemdScope& scope) {
  bool slice = scope.unit.is_slice();
  std::vector<SystemdProperty> properties = {{"Description", "s", {scope.description}},
                                             {"DefaultDependencies", "b", {"0"}}};
  // A slice lies where its name says; the parent is only wished for.
  if (slice)
    properties.push_back({"Wants", "as", {scope.unit.slice}});
  else
    properties.push_back({"Slice", "s", {scope.unit.slice}});
  for (const char* name : {"MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"})
    properties.push_back({name, "b", {"1"}});
  if (!slice) {
    properties.push_back({"Delegate", "b", {"1"}});
    // Else a container that ended badly stays in the list of units until somebody resets it.
    properties.push_back({"CollectMode", "s", {"inactive-or-failed"}});
    if (scope.pid > 0) properties.push_back({"PIDs", "au", {std::to_string(scope.pid)}});
  }
  properties.insert(properties.end(), scope.properties.begin(), scope.properties.end());
  std::vector<std::string> args = {"start-unit"};
  bool hold = !slice && scope.pid <= 0;
  if (hold) args.push_back("--hold");
  args.push_back(scope.unit.name);
  auto answer = TRY(ask(manager, args, encode_systemd_properties(properties)));
  SystemdStarted out;
  out.holder = SystemdHolder(std::move(answer.child), std::move(answer.leash));
  if (!hold) out.holder.release();
  if (!answer.out.starts_with("cgroup=/") || answer.out.find("/../") != std::string::npos)
    return fail(ErrorKind::kInternal, "systemd: no cgroup for unit '%s'", scope.unit.name.c_str());
  out.cgroup = answer.out.substr(7);
  return out;
}

Result<> stop_systemd_unit(const SystemdManager& manager, const std::string& unit) {
  auto answer = TRY(ask(manager, {"stop-unit", unit}, ""));
  SystemdHolder(std::move(answer.child), std::move(answer.leash)).release();
  return {};
}

Result<> attach_to_systemd_unit(const SystemdManager& manager, const std::string& unit, pid_t pid) {
  auto answer = TRY(ask(manager, {"attach-process", unit, std::to_string(pid)}, ""));
  SystemdHolder(std::move(answer.child), std::move(answer.leash)).release();
  return {};
}

Result<> set_systemd_properties(const SystemdManager& manager, const std::string& unit,
                                const std::vector<SystemdProperty>& properties) {
  if (properties.empty()) return {};
  auto answer = TRY(ask(manager, {"set-properties", unit}, encode_systemd_properties(properties)));
  SystemdHolder(std::move(answer.child), std::move(answer.leash)).release();
  return {};
}

}  // namespace caisson::sys
