// SPDX-License-Identifier: Apache-2.0
// Unix sockets: listening, connecting, datagrams with descriptors attached, peer credentials.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

// `type` is SOCK_STREAM or SOCK_SEQPACKET. A stale socket file at `path` is replaced. Paths longer
// than sun_path (107 bytes) are reached through /proc/self/fd of their directory.
Result<UniqueFd> listen_unix(const std::string& path, int type, mode_t mode, int backlog = 128);
Result<UniqueFd> connect_unix(const std::string& path, int type);
// The SEQPACKET socket that a program was started with at that descriptor; empty: there is none.
UniqueFd inherited_connection(int fd);
Result<UniqueFd> accept_connection(int listener);  // non-blocking listener: kUnavailable with EAGAIN
struct SocketPair {
  UniqueFd first, second;
};
Result<SocketPair> socket_pair(int type);

// One message of a SEQPACKET or DGRAM socket with up to 16 descriptors.
Result<> send_message(int socket, std::string_view data, const std::vector<int>& fds = {});
struct Message {
  std::string data;
  std::vector<UniqueFd> fds;
};
// An empty `data` means the peer closed. kExhausted if the message was cut at `limit`.
Result<Message> receive_message(int socket, size_t limit);
// Waits for readability; kTimeout after `timeout_ms`; -1 waits for ever.
Result<> wait_readable(int fd, int timeout_ms);

struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};
Result<PeerCredentials> peer_credentials(int socket);

Result<> set_nonblocking(int fd, bool on);

// Whether something lies between this end of a unix socket and its peer; false for sockets of other families.
bool peer_has_unread_bytes(int socket);

}  // namespace caisson::sys
