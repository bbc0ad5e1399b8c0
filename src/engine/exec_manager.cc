// SPDX-License-Identifier: Apache-2.0
#include "engine/exec_manager.h"

#include <fcntl.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

#include "base/clock.h"
#include "base/ids.h"
#include "base/text.h"
#include "engine/isolation_options.h"
#include "engine/links.h"
#include "engine/seccomp_choice.h"
#include "engine/spec_builder.h"
#include "runtime/plan_builder.h"
#include "runtime/process_builder.h"
#include "runtime/seccomp_profile.h"
#include "runtime/users.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::engine {

namespace {
constexpr size_t kMaxExecsPerContainer = 4096;
constexpr int64_t kKeepFinishedNs = 300LL * 1000000000;
constexpr size_t kSweepAbove = 256;
}  // namespace

struct ExecManager::State {
  struct Exec {
    std::string id;
    ContainerPtr container;
    spec::ExecConfig config;
    bool started = false, running = false;
    std::optional<int64_t> exit_code;
    int64_t pid = 0, finished_ns = 0;
  };
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, Exec> execs;

  // Finished ones stay for a while so that clients can ask for the exit code.
  void sweep() {
    if (execs.size() < kSweepAbove) return;
    int64_t limit = now_ns() - kKeepFinishedNs;
    std::erase_if(execs,
                  [limit](const auto& entry) { return entry.second.exit_code && entry.second.finished_ns < limit; });
  }
};

ExecManager::ExecManager(Services services) : services_(services), state_(std::make_unique<State>()) {}
ExecManager::~ExecManager() = default;

static std::unexpected<Error> no_such_exec(const std::string& id) {
  return fail(ErrorKind::kNotFound, "No such exec instance: %s", id.substr(0, 128).c_str());
}

// Gone, or a zombie that its monitor has yet to tell about.
static bool has_ended(int64_t pid) {
  auto stat = sys::read_file(format("/proc/%lld/stat", static_cast<long long>(pid)), 4096);
  if (!stat) return true;
  size_t close_at = stat->rfind(')');
  return close_at != std::string::npos && close_at + 2 < stat->size() && (*stat)[close_at + 2] == 'Z';
}

static Result<> check_running(const ContainerRecord& record) {
  if (record.status() == Status::kPaused)
    return fail(ErrorKind::kConflict, "container %s is paused, unpause the container before exec", record.id.c_str());
  if (record.status() == Status::kRestarting)
    return fail(ErrorKind::kConflict, "container %s is restarting, wait until the container is running",
                record.id.c_str());
  if (!record.running()) return fail(ErrorKind::kConflict, "container %s is not running", record.id.c_str());
  return {};
}

Result<std::string> ExecManager::create(const ContainerPtr& container, spec::ExecConfig config) {
  TRY(check_running(*container->settled_snapshot()));
  if (config.cmd.items.empty() || config.cmd.items[0].empty())
    return fail(ErrorKind::kInvalid, "No exec command specified");
  if (!config.working_dir.empty() && !config.working_dir.starts_with('/'))
    return fail(ErrorKind::kInvalid, "the working directory '%s' is invalid, it needs to be an absolute path",
                config.working_dir.c_str());
  std::lock_guard lock(state_->mutex);
  state_->sweep();
  size_t mine = 0;
  for (const auto& [id, exec] : state_->execs) mine += exec.container == container && !exec.exit_code;
  if (mine >= kMaxExecsPerContainer)
    return fail(ErrorKind::kExhausted, "container %s has %zu exec instances already", container->id().c_str(), mine);
  State::Exec exec;
  exec.id = random_id();
  exec.container = container;
  exec.config = std::move(config);
  std::string id = exec.id;
  services_.events.publish_container(*container->snapshot(), "exec_create: " + join(exec.config.cmd.items, " "),
                                     {{"execID", id}});
  state_->execs.emplace(id, std::move(exec));
  return id;
}

Result<spec::ExecConfig> ExecManager::config_of(const std::string& exec_id) const {
  std::lock_guard lock(state_->mutex);
  auto found = state_->execs.find(exec_id);
  if (found == state_->execs.end()) return no_such_exec(exec_id);
  return found->second.config;
}

static Result<runtime::ProcessPlan> plan_process(const ContainerRecord& record, const spec::ExecConfig& config,
                                                 const Services& services) {
  // The container's own root, as its first process sees it; everything below is looked up confined.
  auto root = TRY(sys::open_file(format("/proc/%lld/root", static_cast<long long>(record.pid)), O_PATH | O_DIRECTORY));
  // Looked at after it was opened: a process that has the number by now is another's.
  if (sys::process_start_time(static_cast<pid_t>(record.pid)).value_or(0) !=
      static_cast<uint64_t>(record.pid_start_time))
    return fail(ErrorKind::kConflict, "container %s is not running", record.id.c_str());
  const std::string& user_text = config.user.empty() ? record.config.user : config.user;
  auto user = TRY(runtime::resolve_user(root.get(), user_text, record.host_config.group_add));
  auto process =
      TRY(build_exec_process(record, config, user, services.limits, link_environment(record, services.containers)));
  auto plan = TRY(runtime::build_process(process));
  plan.session_keyring = runtime::session_keyring_of(record.id);
  if (auto personality = TRY(personality_of(record.host_config)))
    plan.personality = TRY(runtime::personality_number(*personality));
  TRY(add_seccomp_filter(record, services.options, services.seccomp, plan, config.privileged));
  return plan;
}

Result<> ExecManager::start(const std::string& exec_id, const spec::ExecStartConfig& options,
                            std::optional<std::move_only_function<Result<monitor::Attachment>()>> take_client) {
  ContainerPtr container;
  spec::ExecConfig config;
  {
    std::lock_guard lock(state_->mutex);
    auto found = state_->execs.find(exec_id);
    if (found == state_->execs.end()) return no_such_exec(exec_id);
    auto& exec = found->second;
    if (exec.exit_code) return fail(ErrorKind::kConflict, "Error: Exec command %s has already run", exec_id.c_str());
    if (exec.started) return fail(ErrorKind::kConflict, "Error: Exec command %s is already running", exec_id.c_str());
    TRY(check_running(*exec.container->snapshot()));
    exec.started = true;
    container = exec.container;
    config = exec.config;
  }
  auto finish = [this, &exec_id](int code) {
    std::lock_guard lock(state_->mutex);
    auto found = state_->execs.find(exec_id);
    if (found == state_->execs.end()) return;
    found->second.running = false;
    found->second.exit_code = code;
    found->second.finished_ns = now_ns();
    state_->changed.notify_all();
  };
  auto record = container->snapshot();
  monitor::ExecRequest request;
  request.exec_id = exec_id;
  request.tty = config.tty;
  auto size = options.console_size ? options.console_size : config.console_size;
  if (size && size->size() == 2) {
    request.rows = static_cast<uint16_t>((*size)[0]);
    request.columns = static_cast<uint16_t>((*size)[1]);
  }
  auto plan = plan_process(*record, config, services_);
  if (!plan) {
    finish(126);
    // DOCKER-QUIRK: a user that does not exist is told in the stream, after the request was granted.
    if (take_client && plan.error().kind == ErrorKind::kInvalid)
      if (auto client = (*take_client)(); !client) return std::unexpected(std::move(client).error());
    return std::unexpected(std::move(plan).error());
  }
  request.process = std::move(*plan);
  request.process.terminal = config.tty;
  request.process.rows = request.rows;
  request.process.columns = request.columns;
  if (take_client) {
    request.kill_with_client = config.kill_on_detach;
    request.want_stdin = config.attach_stdin;
    request.want_stdout = config.attach_stdout;
    request.want_stderr = config.attach_stderr;
    auto client = (*take_client)();
    if (!client) {
      finish(126);
      return std::unexpected(std::move(client).error());
    }
    client->options.want_stdin = config.attach_stdin;
    client->options.want_stdout = config.attach_stdout;
    client->options.want_stderr = config.attach_stderr;
    request.attachment = std::move(*client);
  }
  {
    // Marked before the start: a short command's exit may be told before exec() has returned.
    std::lock_guard lock(state_->mutex);
    if (auto found = state_->execs.find(exec_id); found != state_->execs.end()) found->second.running = true;
  }
  // Before it happens: the end of a short command is told by another thread.
  services_.events.publish_container(*record, "exec_start: " + join(config.cmd.items, " "), {{"execID", exec_id}});
  auto started = monitor::exec(services_.paths.run(record->id), std::move(request));
  if (!started) {
    Error error = std::move(started).error();
    bool about_program = error.message.find("exec: ") != std::string::npos;
    finish(about_program && error.kind == ErrorKind::kNotFound ? 127 : 126);
    if (about_program) error.kind = ErrorKind::kInvalid;
    error.message = "OCI runtime exec failed: exec failed: unable to start container process: " + error.message;
    return std::unexpected(std::move(error));
  }
  std::lock_guard lock(state_->mutex);
  if (auto found = state_->execs.find(exec_id); found != state_->execs.end() && !found->second.exit_code)
    found->second.pid = started->pid;
  state_->changed.notify_all();
  return {};
}

Result<> ExecManager::resize(const std::string& exec_id, uint16_t rows, uint16_t columns) {
  ContainerPtr container;
  {
    std::unique_lock lock(state_->mutex);
    auto found = state_->execs.find(exec_id);
    // The client may ask as soon as it has the head of the start's answer: the process comes a little later.
    state_->changed.wait_for(lock, std::chrono::seconds(10), [&] {
      found = state_->execs.find(exec_id);
      return found == state_->execs.end() || !found->second.started || found->second.pid > 0 || found->second.exit_code;
    });
    if (found == state_->execs.end()) return no_such_exec(exec_id);
    if (!found->second.running) return fail(ErrorKind::kConflict, "exec %s is not running", exec_id.c_str());
    container = found->second.container;
  }
  return monitor::resize_exec(services_.paths.run(container->id()), exec_id, rows, columns);
}

Result<spec::ExecInspect> ExecManager::inspect(const std::string& exec_id) const {
  std::unique_lock lock(state_->mutex);
  auto found = state_->execs.find(exec_id);
  if (found == state_->execs.end()) return no_such_exec(exec_id);
  // The client saw the end of its stream before us the event: it asks for the code now and only once.
  if (found->second.running && found->second.pid > 0 && has_ended(found->second.pid)) {
    state_->changed.wait_for(lock, std::chrono::seconds(2), [&] {
      found = state_->execs.find(exec_id);
      return found == state_->execs.end() || !found->second.running;
    });
    if (found == state_->execs.end()) return no_such_exec(exec_id);
  }
  const auto& exec = found->second;
  spec::ExecInspect out;
  out.id = exec.id;
  out.running = exec.running;
  out.exit_code = exec.exit_code;
  out.process_config.tty = exec.config.tty;
  out.process_config.entrypoint = exec.config.cmd.items[0];
  out.process_config.arguments.assign(exec.config.cmd.items.begin() + 1, exec.config.cmd.items.end());
  out.process_config.privileged = exec.config.privileged;
  out.process_config.user = exec.config.user;
  out.open_stdin = exec.config.attach_stdin;
  out.open_stdout = exec.config.attach_stdout;
  out.open_stderr = exec.config.attach_stderr;
  out.container_id = exec.container->id();
  out.detach_keys = exec.config.detach_keys;
  out.pid = exec.pid;
  return out;
}

std::vector<std::string> ExecManager::ids_of(const std::string& container_id) const {
  std::lock_guard lock(state_->mutex);
  std::vector<std::string> out;
  for (const auto& [id, exec] : state_->execs)
    if (exec.running && exec.container->id() == container_id) out.push_back(id);
  return out;
}

void ExecManager::on_exec_exit(const std::string&, const std::string& exec_id, int exit_code) {
  std::lock_guard lock(state_->mutex);
  auto found = state_->execs.find(exec_id);
  if (found == state_->execs.end() || found->second.exit_code) return;
  found->second.running = false;
  found->second.exit_code = exit_code;
  found->second.finished_ns = now_ns();
  state_->changed.notify_all();
  services_.events.publish_container(*found->second.container->snapshot(), "exec_die",
                                     {{"execID", exec_id}, {"exitCode", std::to_string(exit_code)}});
}

void ExecManager::on_container_exit(const std::string& container_id) {
  std::lock_guard lock(state_->mutex);
  // Whatever still ran inside was killed with the container; never-started ones can never run. What the monitor has to
  // tell of them may come later and is not told again.
  std::erase_if(state_->execs, [&](const auto& entry) {
    return entry.second.container->id() == container_id && !entry.second.started;
  });
  for (auto& [id, exec] : state_->execs) {
    if (exec.container->id() != container_id || exec.exit_code) continue;
    exec.exit_code = 137;
    exec.finished_ns = now_ns();
    if (std::exchange(exec.running, false))
      services_.events.publish_container(*exec.container->snapshot(), "exec_die",
                                         {{"execID", id}, {"exitCode", "137"}});
  }
  state_->changed.notify_all();
}

}  // namespace caisson::engine
