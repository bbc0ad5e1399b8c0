// SPDX-License-Identifier: Apache-2.0
// Starting caisson-tls, from the engine and from the client.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/text.h"
#include "sys/files.h"
#include "sys/read_only_program.h"
#include "sys/unix_socket.h"
#include "wire/tls_setup.h"

namespace caisson::http {

namespace {

// A handshake over a bad line may be slow; a worker that takes longer is not coming back.
constexpr int kAnswerTimeoutMs = 30000;
constexpr size_t kMaxPem = 1 << 20;

// The plain stream of a worker. When it breaks off, the worker says why.
class WorkerTransport : public Transport {
 public:
  WorkerTransport(std::unique_ptr<Transport> plain, UniqueFd control)
      : plain_(std::move(plain)), control_(std::move(control)) {}
  int fd() const override { return plain_->fd(); }
  UniqueFd release() override { return plain_->release(); }

  Result<size_t> read(std::span<char> buffer) override {
    auto got = plain_->read(buffer);
    if (got && *got > 0) return got;
    if (auto reason = last_words(); !reason.empty()) return fail(ErrorKind::kUnavailable, "tls: %s", reason.c_str());
    return got;
  }
  Result<> write(std::string_view data) override {
    auto written = plain_->write(data);
    if (written) return written;
    if (auto reason = last_words(); !reason.empty()) return fail(ErrorKind::kUnavailable, "tls: %s", reason.c_str());
    return written;
  }

 private:
  std::string last_words() {
    if (!sys::wait_readable(control_.get(), 0)) return {};
    auto message = sys::receive_message(control_.get(), kMaxTlsMessage);
    if (!message || message->data.empty()) return {};
    auto answer = json::decode<TlsMessage>(message->data);
    return answer ? answer->error : "";
  }

  std::unique_ptr<Transport> plain_;
  UniqueFd control_;
};

Result<UniqueFd> sealed(const std::string& text) {
  UniqueFd fd(memfd_create("tls-setup", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno("memfd_create");
  TRY(sys::write_all(fd.get(), text));
  if (lseek(fd.get(), 0, SEEK_SET) < 0) return fail_errno("lseek");
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
    return fail_errno("fcntl F_ADD_SEALS");
  return fd;
}

}  // namespace

Result<std::string> read_pem_file(const std::string& path) { return sys::read_file(path, kMaxPem); }

Result<TlsWorker> start_tls_worker(const TlsSetup& setup, int socket, int plain) {
  auto pair = TRY(sys::socket_pair(SOCK_SEQPACKET));
  UniqueFd file = TRY(sealed(json::encode(setup)));
  sys::SpawnRequest request;
  request.program = TRY(sys::program_dir()) + "/caisson-tls";
  request.args = {"caisson-tls"};
  if (!setup.label.empty()) request.args.push_back(setup.label);
  request.fds = {{pair.second.get(), kTlsControlFd}, {file.get(), kTlsSetupFd}, {2, 2}};
  if (socket >= 0) request.fds.insert(request.fds.end(), {{socket, kTlsSocketFd}, {plain, kTlsPlainFd}});
  request.new_session = true;  // keys pressed at the client's terminal are for the container
  TlsWorker worker;
  worker.child = TRY_CTX(sys::spawn(request), "starting caisson-tls");
  worker.control = std::move(pair.first);
  pair.second.reset();
  TRY_CTX(sys::wait_readable(worker.control.get(), kAnswerTimeoutMs), "tls: handshake");
  auto message = TRY_CTX(sys::receive_message(worker.control.get(), kMaxTlsMessage), "tls");
  if (message.data.empty()) return fail(ErrorKind::kUnavailable, "tls: caisson-tls ended without a word");
  auto answer = TRY_CTX(json::decode<TlsMessage>(message.data), "tls");
  if (!answer.error.empty()) {
    (void)sys::wait_child(worker.child);
    return fail(ErrorKind::kInvalid, "tls: %s", answer.error.c_str());
  }
  return worker;
}

Result<std::unique_ptr<Transport>> secure_transport(std::unique_ptr<Transport> tcp, const TlsSetup& setup) {
  auto pair = TRY(sys::socket_pair(SOCK_STREAM));
  TlsWorker worker = TRY(start_tls_worker(setup, tcp->fd(), pair.second.get()));
  return std::make_unique<WorkerTransport>(adopt_transport(std::move(pair.first)), std::move(worker.control));
}

}  // namespace caisson::http
