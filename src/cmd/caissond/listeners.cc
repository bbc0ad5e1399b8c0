// SPDX-License-Identifier: Apache-2.0
#include "cmd/caissond/listeners.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "sys/files.h"
#include "sys/unix_socket.h"

namespace caisson {

namespace {

constexpr int kBacklog = 4096;

Result<UniqueFd> listen_on_path(const std::string& path, const std::string& host, gid_t group) {
  if (!path.starts_with('/'))
    return fail(ErrorKind::kInvalid, "host '%s': a unix socket needs an absolute path", host.c_str());
  TRY(sys::make_dirs(path.substr(0, path.rfind('/')), 0755));
  // A socket that answers belongs to somebody else, even if their roots are not ours.
  if (sys::connect_unix(path, SOCK_STREAM))
    return fail(ErrorKind::kConflict, "host '%s': another program listens there", host.c_str());
  // Clients connect without blocking and take a full queue for an error, so the queue is long. The group comes
  // before its rights.
  auto fd = TRY(sys::listen_unix(path, SOCK_STREAM, 0600, kBacklog));
  if (lchown(path.c_str(), geteuid(), group) < 0) return fail_errno("chown '%s'", path.c_str());
  if (chmod(path.c_str(), 0660) < 0) return fail_errno("chmod '%s'", path.c_str());
  return fd;
}

// "", "address", "address:port", "[v6]", "[v6]:port"; Docker's ports where none is given.
std::string with_port(std::string address, bool tls) {
  if (address.empty()) address = "127.0.0.1";
  bool has_port = address.ends_with(']') ? false : address.rfind(':') != std::string::npos;
  return has_port ? address : address + (tls ? ":2376" : ":2375");
}

Result<http::TlsSetup> tls_setup(const DaemonOptions& options) {
  http::TlsSetup setup;
  setup.server = true;
  setup.verify = options.tls.verify;
  setup.debug = options.log_level == LogLevel::kDebug;
  setup.label = options.engine.data_root;
  setup.certificate = TRY_CTX(http::read_pem_file(options.tls.certificate), "could not load the TLS certificate");
  setup.key = TRY_CTX(http::read_pem_file(options.tls.key), "could not load the TLS key");
  if (options.tls.verify) setup.ca = TRY_CTX(http::read_pem_file(options.tls.ca), "could not read the CA certificate");
  return setup;
}

}  // namespace

Result<gid_t> socket_group(const std::optional<std::string>& wanted) {
  if (wanted && wanted->empty()) return getegid();
  const char* name = wanted ? wanted->c_str() : "docker";
  if (const group* found = getgrnam(name)) return found->gr_gid;
  if (!wanted) return getegid();
  if (auto number = parse_uint(*wanted); number && *number <= 0x7fffffff) return static_cast<gid_t>(*number);
  return fail(ErrorKind::kNotFound, "group %s not found", quoted(*wanted).c_str());
}

Result<Listeners> open_listeners(const DaemonOptions& options, http::Server& server, std::vector<UniqueFd> activated) {
  Listeners out;
  gid_t group = TRY(socket_group(options.group));
  for (const auto& host : options.engine.hosts) {
    if (host.starts_with("fd://")) {
      if (activated.empty())
        return fail(ErrorKind::kInvalid, "host '%s': no sockets were handed over (LISTEN_FDS)", host.c_str());
      for (auto& socket : activated) TRY(server.add_listener(std::move(socket)));
      activated.clear();
      continue;
    }
    if (host.starts_with("unix://")) {
      std::string path = host.substr(7);
      TRY(server.add_listener(TRY(listen_on_path(path, host, group))));
      out.socket_files.push_back(path);
    } else if (host.starts_with("tcp://") && options.tls.on) {
      if (!out.tls) {
        out.tls = std::make_unique<TlsFront>(server, TRY(tls_setup(options)));
        TRY(out.tls->start());
      }
      if (!options.tls.verify)
        log_warn("host '%s' is open to everyone who can reach it: without --tlsverify clients need no certificate",
                 host.c_str());
      TRY(out.tls->add_listener(TRY(http::listen_tcp(with_port(host.substr(6), true)))));
    } else if (host.starts_with("tcp://")) {
      log_warn("host '%s' is open to everyone who can reach it, without encryption or password", host.c_str());
      TRY(server.add_listener(TRY(http::listen_tcp(with_port(host.substr(6), false)))));
    } else {
      return fail(ErrorKind::kInvalid, "host '%s': expected unix:///path, tcp://address:port or fd://", host.c_str());
    }
    log_info("listening on %s", host.c_str());
  }
  for (const auto& host : options.read_only_hosts) {
    std::string path = host.substr(7);
    TRY(server.add_listener(TRY(listen_on_path(path, host, group)), true));
    out.socket_files.push_back(path);
    log_info("listening on %s, for reading only", host.c_str());
  }
  return out;
}

}  // namespace caisson
