// SPDX-License-Identifier: Apache-2.0
// Which engine a command speaks to: -H, CAISSON_HOST, DOCKER_HOST, contexts, the default socket.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caisson::cli {

inline constexpr const char* kDefaultHost = "unix:///run/caisson/caisson.sock";

struct Host {
  enum class Kind : uint8_t { kUnix, kTcp, kSsh };
  Kind kind = Kind::kUnix;
  std::string path;  // of the socket; with ssh the one over there, "" for its default
  std::string user;  // with ssh; "" for ssh's choice
  std::string name;  // host name or address
  uint16_t port = 0;
  std::string base_path;  // of a tcp URL, usually empty
};

// `tls`: the port of a tcp host without one is 2376.
Result<Host> parse_host(std::string_view text, bool tls = false);

// How a tcp host is spoken to; files, "" for none.
struct HostTls {
  bool on = false, verify = false;
  std::string ca, certificate, key;
};

struct GlobalOptions {
  std::vector<std::string> hosts;  // -H, in order
  std::string context;             // -c; then the one in use, "default" for none
  std::string config_dir;          // --config
  bool debug = false;
  bool tls = false, tls_verify = false;   // --tls, --tlsverify; with the environment, then the one in use
  std::string tls_ca, tls_cert, tls_key;  // --tlscacert...
  std::string host_text;                  // the one chosen
  HostTls host_tls;
  bool autostart = false;  // may start the engine when nobody listens
};

// Chooses host_text, host_tls and autostart. `environment` is "K=V" texts.
Result<> choose_host(GlobalOptions& options, const std::vector<std::string>& environment);

// Docker's rule for flags and DOCKER_CERT_PATH: a file that nobody named and that is not there counts as none.
HostTls tls_of_flags(const GlobalOptions& options, const std::vector<std::string>& environment);

std::string environment_value(const std::vector<std::string>& environment, std::string_view name);

}  // namespace caisson::cli
