// SPDX-License-Identifier: Apache-2.0
// The engine's side of caisson-dns, the program that answers on 127.0.0.11 inside containers: starting it or
// finding it again after an engine restart, telling it who is called what, and giving all of it to a new one
// should it die. Thread-safe. A call blocks for one round trip (some 50 us), at worst a few seconds when the
// program hangs: it is killed then and started anew.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::network {

// What DnsSockets::udp and ::tcp are bound to, at a port of the kernel's choice; a rule inside the container's
// namespace sends what goes to port 53 there.
inline constexpr std::string_view kDnsAddress = "127.0.0.11";

struct DnsUpstream {
  std::string address;  // "10.0.0.1", "fd00::1"
  uint16_t port = 53;
  // Asked from the host's namespace: loopback servers of the host's resolv.conf. All others are asked from the
  // container's, with the sockets of DnsSockets::query; where there are none, from the host's too.
  bool from_host = false;
};

struct DnsScopeNetwork {
  std::string id;
  std::map<std::string, std::string> links;  // `--link NAME:ALIAS`: alias -> a name in this network
};

// What one container (with those that share its namespace) may resolve.
struct DnsScope {
  std::string id;                         // the container's
  std::vector<DnsScopeNetwork> networks;  // in the order in which names are looked up
  // `--dns`; nullopt: those of set_upstreams(), also when they change.
  std::optional<std::vector<DnsUpstream>> upstreams;
  // False for a container on internal networks only: nothing leaves by the host's namespace.
  bool forward = true;
  bool ndots_set = false;  // `--dns-option ndots:N`, N > 0: unknown names of one label are not forwarded
};

// Opened inside the container's namespace, all of them non-blocking. The client keeps copies until detach(), and
// sockets hold a network namespace alive: detach() belongs to a container's end.
struct DnsSockets {
  UniqueFd udp;  // bound to kDnsAddress
  UniqueFd tcp;  // bound to kDnsAddress and listening
  // Unbound UDP and TCP sockets, IPv4 and IPv6, at most kMaxQuerySockets. Two for UDP and one for TCP of each
  // family the container has are enough: queries share them.
  std::vector<UniqueFd> query;
};
inline constexpr size_t kMaxQuerySockets = 8;

// The container's endpoint in one network.
struct DnsEndpoint {
  std::string network_id;
  std::string network_name;
  std::string id;
  std::string name;                    // the container's: what reverse lookups tell, with the network's name behind
  std::vector<std::string> aliases;    // further names: network aliases, short id
  std::vector<std::string> addresses;  // IPv4 and IPv6, without prefix length
};

struct DnsClientConfig {
  std::string program;      // path of caisson-dns
  std::string socket_path;  // EXEC_ROOT/dns.sock: of this engine alone
};

// Errors: kInvalid for what the program refuses (a limit, a name, an address), kUnavailable and kTimeout when it
// cannot be started or does not answer. After an error the client has forgotten what it was given.
class DnsClient {
 public:
  // Connects to nothing and starts nothing yet.
  static Result<std::unique_ptr<DnsClient>> create(DnsClientConfig config);
  // The program goes on with what it serves; without anything to serve it ends too.
  virtual ~DnsClient() = default;

  // A program that answers: the one found at socket_path, or a new one. Every other call does it when needed.
  virtual Result<> ensure() = 0;

  // Serves a container. Again for the same id: the new sockets take over.
  virtual Result<> attach(DnsScope scope, DnsSockets sockets) = 0;
  // After an engine restart, in place of attach(): true when the program has this container's sockets still and
  // goes on with them; false: attach() with new ones.
  virtual Result<bool> resume(DnsScope scope) = 0;
  // After all resume(), attach() and add() of an engine's start: forgets what an earlier engine had told it and this
  // one did not repeat. Until then that stays valid.
  virtual Result<> finish_restore() = 0;
  // Networks, links, upstreams of a container served already (connect, disconnect); kNotFound.
  virtual Result<> change_scope(DnsScope scope) = 0;
  virtual void detach(const std::string& scope_id) = 0;  // unknown ids are fine

  // Names of an endpoint; again for the same id: replaced as a whole.
  virtual Result<> add(DnsEndpoint endpoint) = 0;
  virtual void remove(const std::string& network_id, const std::string& endpoint_id) = 0;  // unknown ids are fine
  // Default servers, from the host's resolv.conf; see upstreams_of().
  virtual Result<> set_upstreams(std::vector<DnsUpstream> upstreams) = 0;

  // The program's, 0 while none runs. For tests and the log.
  virtual pid_t program_pid() = 0;
};

// The `nameserver` lines of a resolv.conf: the first three, loopback ones asked from the host.
std::vector<DnsUpstream> upstreams_of(std::string_view resolv_conf);

}  // namespace caisson::network
