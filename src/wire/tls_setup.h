// SPDX-License-Identifier: Apache-2.0
// What caisson-tls is told by the engine and by the client, and what it answers. That program does the TLS of
// both: neither links OpenSSL's TLS. Its descriptors: 3 control (SEQPACKET), 4 the setup (a sealed file in
// memory), and for a client 5 the TCP socket, 6 its end of the plain stream.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/process.h"
#include "wire/http_client.h"
#include "wire/json.h"

namespace caisson::http {

struct TlsSetup {
  bool server = false;
  bool verify = true;  // a client checks the server's certificate and name; a server asks for one and checks it
  bool debug = false;
  std::string ca, certificate, key;  // PEM; a client without `ca` trusts the system's
  std::string server_name;           // of a client
  std::string label;                 // names the worker in lists of processes
};
CAISSON_JSON(TlsSetup, CAISSON_FIELD("server", server), CAISSON_FIELD("verify", verify), CAISSON_FIELD("debug", debug),
             CAISSON_FIELD("ca", ca), CAISSON_FIELD("certificate", certificate), CAISSON_FIELD("key", key),
             CAISSON_FIELD("serverName", server_name), CAISSON_FIELD("label", label))

// To a server with a TCP socket just accepted; back with the plain stream of one that has shown who it is.
// The first message from a worker has no descriptor: `error` is empty when it is ready.
struct TlsMessage {
  std::string address, common_name, error;
};
CAISSON_JSON(TlsMessage, CAISSON_FIELD_OMIT("address", address), CAISSON_FIELD_OMIT("commonName", common_name),
             CAISSON_FIELD_OMIT("error", error))

inline constexpr int kTlsControlFd = 3, kTlsSetupFd = 4, kTlsSocketFd = 5, kTlsPlainFd = 6;
inline constexpr size_t kMaxTlsSetup = 4 << 20, kMaxTlsMessage = 4096;

// One of the files of a setup. kNotFound, kDenied...: the message says which file.
Result<std::string> read_pem_file(const std::string& path);

struct TlsWorker {
  sys::Child child;
  UniqueFd control;
};
// Starts the program that lies beside this one and waits until it has taken the setup (kInvalid: it did not).
// `socket` and `plain` are a client's; -1 for a server.
Result<TlsWorker> start_tls_worker(const TlsSetup& setup, int socket, int plain);

// A client's connection: a plain stream whose other end a worker encrypts. It may be released and half-closed
// like a socket of one's own.
Result<std::unique_ptr<Transport>> secure_transport(std::unique_ptr<Transport> tcp, const TlsSetup& setup);

}  // namespace caisson::http
