// SPDX-License-Identifier: Apache-2.0
// For tests only: a throwaway directory with a busybox root and requests to run it under a real monitor.
// Needs root, a static busybox and caisson-monitor beside the test program.
#pragma once

#include <fcntl.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/text.h"
#include "monitor/client.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/unix_socket.h"

namespace caisson::monitor::test {

// Why the live tests cannot run here; empty when they can.
inline std::string missing_for_live() {
  if (geteuid() != 0) return "not root";
  if (!sys::path_exists("/bin/busybox")) return "no /bin/busybox (package busybox-static)";
  if (!sys::path_exists(*sys::program_dir() + "/caisson-monitor")) return "caisson-monitor is not built";
  return {};
}

struct LiveContainer {
  std::string base, id, state_dir, record_dir;
  logs::LogConfig log;
  bool owned;

  // `existing`: the directory of another object, in another process.
  explicit LiveContainer(const char* existing = nullptr) : owned(!existing) {
    char name[] = "/tmp/caisson-monitor-XXXXXX";
    base = existing ? existing : mkdtemp(name);
    id = "monitortest" + base.substr(base.size() - 6);
    state_dir = base + "/state";
    record_dir = base + "/record";
    log.path = base + "/record/log";
    if (!owned) return;
    for (const char* dir : {"/state", "/record", "/root", "/root/bin", "/root/proc", "/root/dev", "/root/tmp"})
      (void)sys::make_dirs(base + dir, 0755).has_value();
    auto busybox = sys::read_file("/bin/busybox", 8 << 20);
    (void)sys::write_file(base + "/root/bin/busybox", *busybox, 0755).has_value();
    for (const char* applet :
         {"sh", "echo", "cat", "sleep", "stty", "seq", "kill", "true", "dd", "head", "yes", "grep", "tr", "id", "ls"})
      (void)!symlink("busybox", (base + "/root/bin/" + applet).c_str());
    (void)sys::write_file(base + "/root/plain", "text", 0644).has_value();
  }
  ~LiveContainer() {
    if (owned) (void)sys::remove_tree(base).has_value();
  }

  runtime::ProcessPlan process(std::vector<std::string> args) const {
    runtime::ProcessPlan plan;
    plan.args = std::move(args);
    plan.env = {"PATH=/bin"};
    plan.cap_effective = plan.cap_permitted = plan.cap_bounding = 0xa80425fb;
    return plan;
  }

  LaunchRequest request(std::vector<std::string> args) const {
    LaunchRequest request;
    request.monitor_program = *sys::program_dir() + "/caisson-monitor";
    request.container_id = id;
    request.state_dir = state_dir;
    request.record_dir = record_dir;
    request.log = log;
    request.plan.id = id;
    request.plan.process = process(std::move(args));
    request.plan.create_namespaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET;
    request.plan.cgroup.path = "/caisson-test/" + id;
    auto add = [&](const char* at, const char* type, const char* data) {
      runtime::Mount mount;
      mount.destination = at;
      mount.type = mount.source = type;
      mount.data = data;
      request.plan.mounts.push_back(std::move(mount));
    };
    add("/proc", "proc", "");
    add("/dev", "tmpfs", "mode=755");
    add("/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620");
    request.plan.devices = {{"/dev/null", 0666 | S_IFCHR, 1, 3}, {"/dev/zero", 0666 | S_IFCHR, 1, 5}};
    request.rootfs = *sys::clone_mount(AT_FDCWD, base + "/root", false);
    return request;
  }
  LaunchRequest shell(const std::string& script) const { return request({"/bin/sh", "-c", script}); }
};

// The client's end of an attachment.
struct LiveClient {
  UniqueFd socket;

  Attachment attach(bool in = false, bool out = true, bool err = true, std::string keys = {}) {
    auto pair = sys::socket_pair(SOCK_STREAM);
    socket = std::move(pair->first);
    return {std::move(pair->second), {}, {in, out, err, std::move(keys)}};
  }
  void type(std::string_view text) { (void)sys::write_all(socket.get(), text).has_value(); }
  void end_input() { shutdown(socket.get(), SHUT_WR); }
  // Everything until the end, at most `timeout_ms` without news.
  std::string read_to_end(int timeout_ms = 10000) { return read_until({}, timeout_ms); }
  std::string read_until(std::string_view wanted, int timeout_ms = 10000) {
    std::string all, buffer(1 << 16, '\0');
    while (sys::wait_readable(socket.get(), timeout_ms)) {
      ssize_t got = read(socket.get(), buffer.data(), buffer.size());
      if (got < 0) return all + "(error " + errno_text(errno) + ")";
      if (got == 0) return all;
      all.append(buffer.data(), static_cast<size_t>(got));
      if (!wanted.empty() && all.contains(wanted)) return all;
    }
    return all + "(timeout)";
  }
};

// The text of one stream out of Docker's frames; "(broken)" when they do not fit.
inline std::string stream_text(std::string_view frames, char stream) {
  std::string text;
  while (!frames.empty()) {
    if (frames.size() < 8) return "(broken)";
    auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(frames[i])); };
    size_t size = byte(4) << 24 | byte(5) << 16 | byte(6) << 8 | byte(7);
    if (frames.size() < 8 + size || frames[1] || frames[2] || frames[3]) return "(broken)";
    if (frames[0] == stream) text += frames.substr(8, size);
    frames.remove_prefix(8 + size);
  }
  return text;
}

// The next event of `kind`, skipping others; kGone ends the search too.
inline Event wait_event(int subscription, Event::Kind kind, int timeout_ms = 10000) {
  while (sys::wait_readable(subscription, timeout_ms)) {
    auto event = read_event(subscription);
    if (!event) break;
    if (event->kind == kind || event->kind == Event::Kind::kGone) return *event;
  }
  return {};
}

}  // namespace caisson::monitor::test
