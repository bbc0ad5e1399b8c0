// SPDX-License-Identifier: Apache-2.0
// The engine's end of one fetch worker: starts it, hands it jobs with descriptors, waits for the answers, kills it.
// Jobs may be called from several threads at once.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "image/fetch_protocol.h"

namespace caisson::image {

struct RegistriesConfig;

// What pull and push need to know of the engine's configuration.
struct FetchConfig {
  std::string fetch_program;                           // path of caisson-fetch
  std::vector<std::string> insecure_registries;        // "host[:port]" or CIDR; loopback is always among them
  std::vector<std::string> mirrors;                    // "https://mirror:5000", tried before Docker Hub, pulls only
  std::vector<std::string> certs_dirs;                 // Docker's certs.d, see fetch_certs.h
  std::shared_ptr<const RegistriesConfig> registries;  // registries.conf; may be null
  std::string tmp_dir = "/tmp";                        // for layers compressed during a push; unnamed files only
  int max_parallel = 3, max_uploads = 5;               // layers at once, of a pull and of a push
  int tries = 4;                                       // of a transfer that brings nothing new
  int timeout_s = 60;                                  // longest silence of a registry
};

class FetchSession {
 public:
  // Spawns the worker and gives it `setup`, certificates of config.certs_dirs added. The calling thread must outlive
  // the session: the worker dies with it. `cancel` is polled; once true the worker is killed and every call ends with
  // kCancelled.
  static Result<std::unique_ptr<FetchSession>> start(const FetchConfig& config, const FetchSetup& setup,
                                                     const std::atomic<bool>* cancel);
  // Over a socket to something that speaks the protocol already: tests run the worker on a thread.
  static Result<std::unique_ptr<FetchSession>> adopt(UniqueFd control, const FetchSetup& setup,
                                                     const std::atomic<bool>* cancel);
  virtual ~FetchSession() = default;

  // One job. The descriptors are given away. A failed job is the Error; `failed`, where given, then holds the
  // reply with the registry's own code.
  virtual Result<FetchReply> call(FetchJob job, std::vector<UniqueFd> fds,
                                  const std::function<void(int64_t bytes)>& on_progress = {},
                                  FetchReply* failed = nullptr) = 0;
  // Ends the worker now; calls under way return kCancelled.
  virtual void abort() = 0;
};

// Whether `host` ("name[:port]") may be spoken to over plain http or with any certificate.
bool is_insecure_registry(const FetchConfig& config, const std::string& host);

}  // namespace caisson::image
