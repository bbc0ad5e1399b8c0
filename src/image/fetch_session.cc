// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_session.h"

#include <signal.h>
#include <sys/socket.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/text.h"
#include "image/fetch_certs.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::image {
namespace {

constexpr int kCancelPollMs = 50;

struct PendingCall {
  FetchReply reply;
  bool done = false;
  int64_t progress = -1;  // news not yet given to the caller
};

class WorkerSession : public FetchSession {
 public:
  WorkerSession(UniqueFd control, sys::Child child, const std::atomic<bool>* cancel)
      : control_(std::move(control)), child_(std::move(child)), cancel_(cancel) {
    reader_ = std::thread([this] { read_replies(); });
  }

  ~WorkerSession() override {
    stop(true);
    reader_.join();
    if (child_.pid > 0) {
      if (auto status = sys::wait_child(child_); !status)
        log_debug("waiting for the fetch worker: %s, ignoring", status.error().message.c_str());
    }
  }

  Result<FetchReply> call(FetchJob job, std::vector<UniqueFd> fds, const std::function<void(int64_t)>& on_progress,
                          FetchReply* failed) override {
    PendingCall pending;
    std::vector<int> raw;
    for (auto& fd : fds) raw.push_back(fd.get());
    std::unique_lock lock(mutex_);
    if (ended_) return ended_error();
    job.id = ++last_id_;
    pending_[job.id] = &pending;
    lock.unlock();
    auto sent = sys::send_message(control_.get(), json::encode(job), raw);
    fds.clear();  // the pipes' ends: a reader here must see the end when the worker closes its copies
    lock.lock();
    if (!sent) {
      pending_.erase(job.id);
      return ended_ ? ended_error() : with_context(std::move(sent).error(), "fetch worker");
    }
    while (true) {
      changed_.wait(lock, [&] { return pending.done || ended_ || pending.progress >= 0; });
      if (pending.done || ended_) break;
      // Told on the caller's thread and without the lock: a slow listener must not stall the other jobs.
      int64_t bytes = std::exchange(pending.progress, -1);
      lock.unlock();
      if (on_progress) on_progress(bytes);
      lock.lock();
    }
    pending_.erase(job.id);
    if (!pending.done) return ended_error();
    if (pending.reply.ok) return pending.reply;
    if (failed) *failed = pending.reply;
    return std::unexpected(Error{error_kind_of_name(pending.reply.error_kind), 0, pending.reply.message});
  }

  void abort() override { stop(true); }

 private:
  std::unexpected<Error> ended_error() const {
    return cancelled_ ? fail(ErrorKind::kCancelled, "cancelled")
                      : fail(ErrorKind::kUnavailable, "fetch worker ended unexpectedly");
  }

  // The kill comes first: a worker stuck in a system call would not notice the closed socket.
  void stop(bool wanted) {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    stopped_ = true;
    if (!ended_) cancelled_ = wanted;
    if (child_.pid > 0) (void)sys::signal_pidfd(child_.pidfd.get(), SIGKILL);
    shutdown(control_.get(), SHUT_RDWR);
  }

  void read_replies() {
    while (true) {
      auto readable = sys::wait_readable(control_.get(), kCancelPollMs);
      if (cancel_ && cancel_->load()) stop(true);
      if (!readable && readable.error().kind == ErrorKind::kTimeout) continue;
      if (!readable) break;
      auto message = sys::receive_message(control_.get(), kMaxFetchMessage);
      if (!message || message->data.empty()) break;
      auto reply = parse_fetch_reply(message->data);
      if (!reply) {
        log_warn("%s", reply.error().message.c_str());
        stop(false);
        break;
      }
      deliver(std::move(*reply));
    }
    std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  void deliver(FetchReply reply) {
    std::lock_guard lock(mutex_);
    auto found = pending_.find(reply.id);
    if (found == pending_.end() || found->second->done) return;
    if (reply.done) {
      found->second->reply = std::move(reply);
      found->second->done = true;
    } else {
      found->second->progress = std::max<int64_t>(reply.size, 0);
    }
    changed_.notify_all();
  }

  UniqueFd control_;
  sys::Child child_;
  const std::atomic<bool>* cancel_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int64_t, PendingCall*> pending_;
  int64_t last_id_ = 0;
  bool ended_ = false;  // the reader is gone, no reply will come
  bool stopped_ = false;
  bool cancelled_ = false;
  std::thread reader_;
};

}  // namespace

Result<std::unique_ptr<FetchSession>> FetchSession::adopt(UniqueFd control, const FetchSetup& setup,
                                                          const std::atomic<bool>* cancel) {
  auto session = std::make_unique<WorkerSession>(std::move(control), sys::Child{}, cancel);
  FetchJob first{.kind = "setup", .setup = setup};
  TRY(session->call(std::move(first), {}, {}, nullptr));
  return session;
}

Result<std::unique_ptr<FetchSession>> FetchSession::start(const FetchConfig& config, const FetchSetup& setup,
                                                          const std::atomic<bool>* cancel) {
  auto sockets = TRY(sys::socket_pair(SOCK_SEQPACKET));
  sys::SpawnRequest request;
  request.program = config.fetch_program;
  request.args = {"caisson-fetch"};
  request.fds = {{sockets.second.get(), 3}, {2, 2}};
  request.die_with_parent = true;
  for (const char* name : {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"})
    if (const char* value = getenv(name)) request.env.push_back(std::string(name) + "=" + value);
  auto child = TRY_CTX(sys::spawn(request), "starting the fetch worker");
  sockets.second.reset();
  auto session = std::make_unique<WorkerSession>(std::move(sockets.first), std::move(child), cancel);
  FetchJob first{.kind = "setup", .setup = setup};
  RegistryCerts certs = TRY(read_registry_certs(config.certs_dirs, setup.host));
  first.setup.ca_pem = std::move(certs.ca_pem);
  first.setup.client_cert_pem = std::move(certs.client_cert_pem);
  first.setup.client_key_pem = std::move(certs.client_key_pem);
  first.setup.timeout_s = config.timeout_s;
  first.setup.tries = config.tries;
  TRY(session->call(std::move(first), {}, {}, nullptr));
  return session;
}

}  // namespace caisson::image
