// SPDX-License-Identifier: Apache-2.0
#include "cli/notify_forward.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/ids.h"
#include "base/text.h"
#include "cli/containers.h"
#include "sys/files.h"
#include "sys/service_manager.h"
#include "sys/unix_socket.h"

namespace caisson::cli {

namespace {

constexpr const char* kTarget = "/run/notify";
constexpr size_t kMaxMessage = 4096;
constexpr int kAliveCheckMs = 500;

void push_string(JsonValue& object, const char* member, const std::string& value) {
  JsonValue list = object.at(member);
  if (!list.is_array()) list = JsonValue::array();
  list.push(value);
  object.set(member, std::move(list));
}

Result<UniqueFd> bind_datagrams(const std::string& path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(ErrorKind::kInvalid, "path '%s' is too long", path.c_str());
  memcpy(address.sun_path, path.c_str(), path.size());
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    return fail_errno("bind '%s'", path.c_str());
  // Whoever the program runs as may tell; it is the only one that sees the socket.
  if (chmod(path.c_str(), 0666) < 0) return fail_errno("chmod '%s'", path.c_str());
  return fd;
}

// What a container may say for its service: not which process it is, and nothing with descriptors.
std::string allowed_lines(const std::string& message) {
  static constexpr std::string_view kAllowed[] = {
      "READY=", "RELOADING=", "STOPPING=", "STATUS=", "ERRNO=", "WATCHDOG=", "MONOTONIC_USEC=", "EXTEND_TIMEOUT_USEC="};
  std::string out;
  for (const std::string& line : split(message, '\n'))
    for (std::string_view prefix : kAllowed)
      if (line.starts_with(prefix)) out += (out.empty() ? "" : "\n") + line;
  return out;
}

bool says_ready(const std::string& message) { return ("\n" + message + "\n").find("\nREADY=1\n") != message.npos; }

}  // namespace

Result<NotifyForwarder> NotifyForwarder::prepare(const App& app, std::string_view mode, ContainerRequest& request) {
  NotifyForwarder out;
  if (mode != "container" && mode != "conmon" && mode != "ignore")
    return fail(ErrorKind::kInvalid, "invalid value for --sdnotify: '%s' is not one of container, conmon, ignore",
                std::string(mode).c_str());
  if (mode == "ignore" || app.env("NOTIFY_SOCKET").value_or("").empty()) return out;
  if (mode == "conmon") {
    out.is_immediate_ = true;
    return out;
  }
  if (!request.auto_remove)
    return fail(ErrorKind::kInvalid, "--sdnotify container needs --rm: the socket is there for one run only");
  if (!app.options.host_text.starts_with("unix://"))
    return fail(ErrorKind::kInvalid, "--sdnotify container needs an engine on this host, not '%s'",
                app.options.host_text.c_str());
  std::string directory = app.env("XDG_RUNTIME_DIR").value_or("/run") + "/caisson-notify-" + random_hex(16);
  if (mkdir(directory.c_str(), 0755) < 0) return fail_errno("mkdir '%s'", directory.c_str());
  out.directory_ = directory;
  out.socket_ = TRY(bind_datagrams(directory + "/socket"));
  out.wake_.reset(eventfd(0, EFD_CLOEXEC));
  if (!out.wake_) return fail_errno("eventfd");
  push_string(request.host_config, "Binds", directory + ":" + kTarget);
  push_string(request.config, "Env", std::string("NOTIFY_SOCKET=") + kTarget + "/socket");
  return out;
}

NotifyForwarder::NotifyForwarder(NotifyForwarder&& other) noexcept
    : is_immediate_(other.is_immediate_),
      pid_(other.pid_),
      directory_(std::exchange(other.directory_, "")),
      socket_(std::move(other.socket_)),
      wake_(std::move(other.wake_)) {}  // only before started(): there is no thread yet

NotifyForwarder::~NotifyForwarder() {
  if (thread_.joinable()) {
    uint64_t one = 1;
    // An eventfd takes eight bytes unless its counter is full, and then the thread has been woken already.
    [[maybe_unused]] ssize_t written = write(wake_.get(), &one, sizeof one);
    thread_.join();
  }
  if (directory_.empty()) return;
  unlink((directory_ + "/socket").c_str());
  rmdir(directory_.c_str());
}

static Result<> tell(const std::string& lines, int64_t pid) {
  std::string text =
      says_ready(lines) && pid > 0 ? lines + format("\nMAINPID=%lld", static_cast<long long>(pid)) : lines;
  return text.empty() ? Result<>{} : sys::notify_service_manager(text);
}

Result<> NotifyForwarder::started(App& app, const std::string& container, bool waits) {
  if (!is_immediate_ && directory_.empty()) return {};
  auto shown = inspect_container(app, container);
  if (!shown && shown.error().kind != ErrorKind::kNotFound) return std::unexpected(std::move(shown).error());
  // One that has ended and is removed by now is no error of an attached run, which tells its exit code; what it said
  // before its end may wait to be read.
  if (!shown) return waits ? forward_until_ready(app, container) : Result<>();
  pid_ = shown->at("State", "Pid").as_int();
  if (is_immediate_) return tell("READY=1", pid_);
  if (waits) return forward_until_ready(app, container);
  thread_ = std::thread([this] { forward_always(); });
  return {};
}

Result<> NotifyForwarder::forward_until_ready(App& app, const std::string& container) {
  while (true) {
    auto ready = sys::wait_readable(socket_.get(), kAliveCheckMs);
    if (!ready && ready.error().kind != ErrorKind::kTimeout) return ready;
    if (!ready) {
      auto shown = inspect_container(app, container);
      if (!shown && shown.error().kind != ErrorKind::kNotFound) return std::unexpected(std::move(shown).error());
      if (!shown || !shown->at("State", "Running").as_bool())
        return fail(ErrorKind::kConflict, "the container ended before it said that it is ready");
      continue;
    }
    auto message = sys::receive_message(socket_.get(), kMaxMessage);
    if (!message) continue;  // too long: nothing that systemd would take
    std::string lines = allowed_lines(message->data);
    TRY(tell(lines, pid_));
    if (says_ready(lines)) return {};
  }
}

void NotifyForwarder::forward_always() {
  pollfd polled[] = {{socket_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  while (true) {
    if (poll(polled, 2, -1) < 0 && errno != EINTR) return;
    if (polled[1].revents) return;
    if (!polled[0].revents) continue;
    auto message = sys::receive_message(socket_.get(), kMaxMessage);
    if (!message) continue;
    // The service manager may have stopped listening; the container goes on.
    [[maybe_unused]] auto told = tell(allowed_lines(message->data), pid_);
  }
}

}  // namespace caisson::cli
