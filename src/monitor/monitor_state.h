// SPDX-License-Identifier: Apache-2.0
// The monitor's state; its life lies in monitor.cc, its answers to the engine in requests.cc.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "logs/container_log.h"
#include "monitor/client.h"
#include "monitor/exec_session.h"
#include "monitor/exit_record.h"
#include "monitor/poller.h"
#include "monitor/protocol.h"
#include "monitor/restart_policy.h"
#include "monitor/stdio_hub.h"
#include "runtime/container.h"
#include "sys/cgroup.h"
#include "sys/cgroup_oom.h"
#include "sys/process.h"

namespace caisson::monitor {

class Monitor {
 public:
  Monitor();
  int run(UniqueFd launcher);

  void on_exec_ready(ExecSession& exec, bool surely);
  void on_time(int64_t now);

 private:
  enum class Phase : unsigned char {
    kRunning,
    kDraining,  // the process has ended, its pipes may hold data
    kWaiting,   // for the next start
    kClosing,   // slow clients get their last bytes
    kDone,
  };
  struct Child : Watch {
    explicit Child(Monitor& owner) : monitor(owner) {}
    void on_ready(uint32_t events) override;
    Monitor& monitor;
    sys::Child watched;
  };
  struct Listener : Watch {
    explicit Listener(Monitor& owner) : monitor(owner) {}
    void on_ready(uint32_t events) override;
    Monitor& monitor;
    UniqueFd fd;
  };
  // The log's own descriptor, where its driver has a peer.
  struct LogPeer : Watch {
    explicit LogPeer(Monitor& owner) : monitor(owner) {}
    void on_ready(uint32_t events) override;
    Monitor& monitor;
  };
  struct OomPeer : Watch {
    explicit OomPeer(Monitor& owner) : monitor(owner) {}
    void on_ready(uint32_t events) override;
    Monitor& monitor;
  };
  struct Connection : Watch {
    explicit Connection(Monitor& owner) : monitor(owner) {}
    void on_ready(uint32_t events) override;
    Monitor& monitor;
    UniqueFd fd;
    bool subscriber = false;
  };

  Result<> start(UniqueFd& launcher);
  Result<> run_hooks(const std::vector<runtime::Hook>& hooks, const char* kind, const char* status);
  Result<> start_process(std::vector<Attachment> attachments);
  void on_exit();
  void after_end();
  void begin_waiting(int64_t delay_ns);
  void start_again();
  void finish();
  Result<> send_signal(int number, bool last);
  void take_down();
  void end_execs();
  void abandon_process();
  void abandon();
  Result<pid_t> start_exec(ExecRequest&& request);
  void tell_detached();
  void end_left_execs();
  void watch_for_oom();
  void stop_watching_oom();
  void on_oom_notice();
  void look_for_oom_kill(int64_t now);
  bool tell_oom_kill();
  void settle_execs(int64_t now);
  int64_t next_deadline() const;
  bool busy();

  void on_connect();
  void on_request(Connection& connection);
  // True: the connection stays open as a subscription.
  bool answer(int socket, Packet&& packet);
  Result<> carry_out(Packet&& packet);
  bool subscribe(int socket);
  void drop(Connection& connection);
  void broadcast(MessageType type, const std::string& body);

  Poller poller_;
  Child child_{*this};
  Listener listener_{*this};
  std::unique_ptr<StdioHub> hub_;
  std::vector<std::unique_ptr<StdioHub>> old_hubs_;  // of earlier runs, whose clients are slow
  LaunchRequest request_;                            // for the next start
  std::vector<runtime::Hook> poststop_;              // what is left of the plan without a next start
  runtime::HookState hook_state_;
  RestartDecision decision_;
  bool stopped_by_hand_ = false;
  LogPeer log_peer_{*this};
  OomPeer oom_peer_{*this};
  std::optional<sys::OomWatch> oom_watch_;
  bool oom_group_ = false;
  uint64_t oom_told_ = 0;  // kills of this run that were told
  int64_t oom_look_at_ = kNever, oom_look_until_ = 0;
  std::vector<std::pair<pid_t, std::string>> oom_candidates_;
  std::unique_ptr<logs::LogWriter> log_;
  std::string state_dir_, record_dir_;
  Running running_;
  ExitRecord exit_;
  sys::CgroupPaths cgroup_;
  UniqueFd mount_namespace_;
  bool own_pids_ = false;
  Phase phase_ = Phase::kRunning;
  int64_t drain_deadline_ = kNever;
  int64_t start_at_ = kNever;
  int64_t idle_at_ = kNever;
  std::vector<std::unique_ptr<ExecSession>> execs_;
  std::vector<std::string> exec_exits_;  // encoded, the oldest first
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace caisson::monitor
