// SPDX-License-Identifier: Apache-2.0
// Messages between engine and monitor over a SEQPACKET socket, both directions. A message is a type, the
// number of descriptors that belong to it, and fields; large fields travel in a sealed memfd instead.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "monitor/client.h"

namespace caisson::monitor {

enum class MessageType : uint8_t {
  // requests
  kLaunch = 1,
  kAttach,
  kResize,
  kSignal,
  kExec,
  kResizeExec,
  kSubscribe,
  kRestartPolicy,
  kMoreFds,  // descriptors that did not fit into the message before
  // answers
  kOk = 32,
  kError,
  kRunning,
  kExecStarted,
  // events
  kStateEvent = 64,
  kExitEvent,
  kExecExitEvent,
  kOomEvent,
  kRestartingEvent,
  kDetachEvent,  // body: the exec's id, or nothing for the container's own streams
};

inline constexpr size_t kMaxPacket = 48 << 10;  // of one SEQPACKET message
inline constexpr size_t kMaxBody = 24 << 20;    // with a memfd
inline constexpr size_t kMaxAttachments = 256;
inline constexpr size_t kMaxLeftover = 1 << 20;
inline constexpr size_t kMaxDetachKeys = 64;

struct Packet {
  MessageType type{};
  std::string body;
  std::vector<UniqueFd> fds;
};

Result<> send_packet(int socket, MessageType type, std::string_view body, const std::vector<int>& fds = {});
// kUnavailable when the peer has closed, kCorrupt for what is no message of ours. Does not wait when the
// socket is non-blocking, except for the rest of a message that has begun.
Result<Packet> receive_packet(int socket);

// `rootfs`, `netns` and the attachments' sockets follow the message as descriptors in this order; the
// decoder takes them out of `packet`. The monitor's program path is not part of it.
std::string encode_launch(const LaunchRequest& request);
std::vector<int> launch_fds(const LaunchRequest& request);
Result<LaunchRequest> decode_launch(Packet&& packet);

std::string encode_attachment(const Attachment& attachment);
Result<Attachment> decode_attachment(Packet&& packet);

std::string encode_exec(const ExecRequest& request);
std::vector<int> exec_fds(const ExecRequest& request);
Result<ExecRequest> decode_exec(Packet&& packet);

class FieldWriter;
class FieldReader;
void put_policy(FieldWriter& out, const RestartPolicy& policy);
bool get_policy(FieldReader& in, RestartPolicy& policy);

std::string encode_running(const Running& running);
Result<Running> decode_running(std::string_view body);
std::string encode_exit(const ExitRecord& record);
std::string encode_exec_exit(const std::string& exec_id, int exit_code);
std::string encode_oom(const OomDetails& details);
std::string encode_error(const Error& error);
// Always an error: the one that was sent, or kCorrupt.
std::unexpected<Error> decode_error(std::string_view body);
// Events only; kCorrupt for other types.
Result<Event> decode_event(const Packet& packet);

}  // namespace caisson::monitor
