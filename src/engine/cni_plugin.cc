// SPDX-License-Identifier: Apache-2.0
#include "engine/cni_plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "engine/cni_config.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::engine {

namespace {

constexpr size_t kMaxComplaint = 4096;  // of stderr

// A file rather than a pipe: a plugin that does not read never makes us wait.
Result<UniqueFd> input_file(std::string_view content) {
  UniqueFd fd(memfd_create("cni-input", MFD_CLOEXEC));
  if (!fd) return fail_errno("memfd_create");
  TRY(sys::write_all(fd.get(), content));
  if (lseek(fd.get(), 0, SEEK_SET) < 0) return fail_errno("lseek");
  return fd;
}

// What comes out of one of the plugin's pipes, up to a limit.
struct Stream {
  UniqueFd ours, theirs;
  std::string text;
  size_t limit = 0;
  bool too_much = false;

  Result<> open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return fail_errno("pipe2");
    ours = UniqueFd(ends[0]);
    theirs = UniqueFd(ends[1]);
    if (fcntl(ours.get(), F_SETFL, O_NONBLOCK) < 0) return fail_errno("fcntl");
    return {};
  }
  // What there is at the moment, past the limit thrown away; false at its end.
  bool drain() {
    char buffer[16384];
    for (int reads = 0; reads < 128; ++reads) {  // of one that writes without end, the rest the next time
      ssize_t got = read(ours.get(), buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno == EAGAIN;
      if (got == 0) return false;
      size_t room = limit - std::min(limit, text.size());
      too_much = too_much || static_cast<size_t>(got) > room;
      text.append(buffer, std::min(room, static_cast<size_t>(got)));
    }
    return true;
  }
};

}  // namespace

Result<std::string> CniRunner::find(const std::string& type) const {
  for (const auto& directory : directories) {
    std::string path = directory + "/" + type;
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return fail(ErrorKind::kNotFound, "there is no program of that name in %s", join(directories, ":").c_str());
}

Result<std::string> CniRunner::run(const std::string& type, const CniCall& call) const {
  sys::SpawnRequest request;
  request.program = TRY(find(type));
  pollfd stopping{stop, POLLIN, 0};
  if (stop >= 0 && poll(&stopping, 1, 0) > 0) return fail(ErrorKind::kCancelled, "the engine stops");
  request.args = {request.program};
  request.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CNI_COMMAND=" + call.command,
                 "CNI_PATH=" + join(directories, ":")};
  auto tell = [&](const char* name, const std::string& value) {
    if (!value.empty()) request.env.push_back(std::string(name) + "=" + value);
  };
  tell("CNI_CONTAINERID", call.container_id);
  tell("CNI_NETNS", call.netns);
  tell("CNI_IFNAME", call.interface);
  tell("CNI_ARGS", call.args);
  auto input = TRY(input_file(call.input));
  Stream out, err;
  out.limit = max_output;
  err.limit = kMaxComplaint;
  TRY(out.open());
  TRY(err.open());
  request.fds = {{input.get(), 0}, {out.theirs.get(), 1}, {err.theirs.get(), 2}};
  // A group of its own, so that what a plugin starts ends with it; and it ends with this thread, which waits for it:
  // the next engine must not meet a plugin of this one still at work.
  request.new_session = true;
  request.die_with_parent = true;
  auto child = TRY(sys::spawn(request));
  out.theirs.reset();
  err.theirs.reset();

  int64_t deadline = monotonic_ns() + timeout_ms * 1000000;
  bool ended = false, late = false, stopped = false, out_open = true, err_open = true;
  while (!ended && !late && !stopped && !out.too_much) {
    int64_t left_ms = (deadline - monotonic_ns()) / 1000000;
    if (left_ms <= 0) {
      late = true;
      break;
    }
    pollfd entries[] = {{child.pidfd.get(), POLLIN, 0},
                        {out_open ? out.ours.get() : -1, POLLIN, 0},
                        {err_open ? err.ours.get() : -1, POLLIN, 0},
                        {stop, POLLIN, 0}};
    if (poll(entries, 4, static_cast<int>(std::min<int64_t>(left_ms, 60000))) < 0 && errno != EINTR) {
      late = true;
      break;
    }
    ended = entries[0].revents != 0;
    stopped = !ended && entries[3].revents;
    // Once it has ended, all that it wrote is in the pipes; whoever else holds them is not waited for.
    if (entries[1].revents || ended) out_open = out.drain();
    if (entries[2].revents || ended) err_open = err.drain();
  }
  if (!ended) (void)sys::signal_group_of_pidfd(child.pidfd.get(), SIGKILL);
  int code = TRY(sys::wait_child(child));
  if (out.too_much) return fail(ErrorKind::kInternal, "it wrote more than %zu bytes", max_output);
  if (stopped) return fail(ErrorKind::kCancelled, "it was ended, as the engine stops");
  if (late) return fail(ErrorKind::kTimeout, "it did not end within %lld s", static_cast<long long>(timeout_ms / 1000));
  if (code == 0) return std::move(out.text);
  std::string sentence = cni_error_sentence(out.text);
  if (sentence.empty()) {
    std::string said = cni_one_line(trim(err.text).empty() ? out.text : err.text);
    sentence = code > 128 ? format("it was ended by signal %d", code - 128) : format("it ended with status %d", code);
    if (!said.empty()) sentence += ": " + said;
  }
  return fail(ErrorKind::kInternal, "%s", sentence.c_str());
}

}  // namespace caisson::engine
