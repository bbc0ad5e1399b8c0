// SPDX-License-Identifier: Apache-2.0
#include "cli/ssh_transport.h"

#include <sys/socket.h>

#include <cctype>
#include <cstring>

#include "base/text.h"
#include "cli/programs.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::cli {

Result<Host> parse_ssh_host(std::string_view text) {
  auto invalid = [](const char* what) {
    return fail(ErrorKind::kInvalid, "ssh host connection is not valid: %s", what);
  };
  if (!text.starts_with("ssh://")) return invalid("no scheme provided");
  text.remove_prefix(6);
  if (text.find('?') != text.npos) return invalid("query is not allowed");
  if (text.find('#') != text.npos) return invalid("fragment is not allowed");
  Host host{.kind = Host::Kind::kSsh};
  size_t slash = text.find('/');
  if (slash != text.npos && slash + 1 < text.size()) host.path = std::string(text.substr(slash));
  text = text.substr(0, slash);
  if (size_t at = text.rfind('@'); at != text.npos) {
    host.user = std::string(text.substr(0, at));
    if (host.user.find(':') != std::string::npos) return invalid("plain-text password is not supported");
    text.remove_prefix(at + 1);
  }
  std::string_view port;
  if (size_t close = text.find(']'); text.starts_with('[') && close != text.npos) {
    host.name = std::string(text.substr(1, close - 1));
    text.remove_prefix(close + 1);
    if (text.starts_with(':')) port = text.substr(1);
  } else {
    size_t colon = text.find(':');
    host.name = std::string(text.substr(0, colon));
    if (colon != text.npos) port = text.substr(colon + 1);
  }
  if (host.name.empty()) return invalid("hostname is empty");
  if (!port.empty()) {
    auto number = parse_uint(port);
    if (!number || *number == 0 || *number > 65535) return invalid("port is no number from 1 to 65535");
    host.port = static_cast<uint16_t>(*number);
  }
  // It becomes part of a shell's command on the other side.
  for (char c : host.path)
    if (!isalnum(static_cast<unsigned char>(c)) && !strchr("/._-+@:", c))
      return invalid("the path may have letters, digits and any of /._-+@: only");
  return host;
}

std::vector<std::string> ssh_arguments(const Host& host) {
  std::vector<std::string> args = {"ssh", "-o", "ConnectTimeout=30", "-T"};
  if (!host.user.empty()) args.insert(args.end(), {"-l", host.user});
  if (host.port) args.insert(args.end(), {"-p", std::to_string(host.port)});
  std::string options = (host.path.empty() ? "" : "--host unix://" + host.path + " ") + "system dial-stdio";
  // A host with either client serves; with both, each client finds its own engine.
  args.insert(args.end(), {"--", host.name,
                           "sh -c 'if command -v caisson >/dev/null; then exec caisson " + options +
                               "; else exec docker " + options + "; fi'"});
  return args;
}

Result<std::unique_ptr<http::Transport>> connect_ssh_transport(const Host& host,
                                                               const std::vector<std::string>& environment) {
  std::string program = find_program(environment, "ssh");
  if (program.empty()) return fail(ErrorKind::kNotFound, "exec: 'ssh': executable file not found in $PATH");
  auto channel = TRY(sys::socket_pair(SOCK_STREAM));
  sys::SpawnRequest request;
  request.program = program;
  request.args = ssh_arguments(host);
  request.env = environment;
  request.fds = {{channel.second.get(), 0}, {channel.second.get(), 1}, {2, 2}};
  // Ctrl-C is for the container; what ssh has to ask, its agent or askpass asks.
  request.new_session = true;
  // A stream that nobody reads any more would keep it, and what it started over there.
  request.die_with_parent = true;
  TRY_CTX(sys::spawn(request), "starting ssh");
  return http::adopt_transport(std::move(channel.first));
}

}  // namespace caisson::cli
