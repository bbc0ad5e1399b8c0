// SPDX-License-Identifier: Apache-2.0
#include "sys/netlink.h"

#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "base/clock.h"

namespace caisson::sys {

namespace {
// On the stack: sockets are kept in numbers, buffers need not be. Dumps come in pieces of this size.
constexpr size_t kReceiveSize = 16 << 10;
constexpr int kAnswerTimeoutMs = 10'000;
constexpr int kDumpAttempts = 5;

constexpr size_t aligned(size_t size) { return (size + 3) & ~size_t{3}; }
}  // namespace

void NetlinkBuilder::append(const void* data, size_t size) {
  if (bytes_.size() + aligned(size) > kMaxSize) {
    mistake_ = "message too long";
    return;
  }
  bytes_.append(static_cast<const char*>(data), size);
  bytes_.append(aligned(size) - size, '\0');
}

void NetlinkBuilder::set_length(size_t at, size_t length, bool is_message) {
  if (is_message) {
    auto value = static_cast<uint32_t>(length);
    memcpy(bytes_.data() + at, &value, sizeof value);
    return;
  }
  if (length > UINT16_MAX) {
    mistake_ = "attribute too long";
    return;
  }
  auto value = static_cast<uint16_t>(length);
  memcpy(bytes_.data() + at, &value, sizeof value);
}

void NetlinkBuilder::close_message() {
  if (depth_) mistake_ = "nest left open";
  if (messages_ && bytes_.size() >= message_ + sizeof(nlmsghdr)) set_length(message_, bytes_.size() - message_, true);
}

void NetlinkBuilder::begin(uint16_t type, uint16_t flags) {
  close_message();
  message_ = bytes_.size();
  ++messages_;
  nlmsghdr head{};
  head.nlmsg_type = type;
  head.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
  append(&head, sizeof head);
}

void NetlinkBuilder::add_flags(uint16_t flags) {
  if (!messages_ || bytes_.size() < message_ + sizeof(nlmsghdr)) return;
  uint16_t now;
  char* at = bytes_.data() + message_ + offsetof(nlmsghdr, nlmsg_flags);
  memcpy(&now, at, sizeof now);
  now = static_cast<uint16_t>(now | flags);
  memcpy(at, &now, sizeof now);
}

void NetlinkBuilder::attribute(uint16_t type, const void* data, size_t size) {
  if (size > UINT16_MAX - sizeof(nlattr)) {
    mistake_ = "attribute too long";
    return;
  }
  nlattr head{static_cast<uint16_t>(sizeof(nlattr) + size), type};
  append(&head, sizeof head);
  append(data, size);
}

void NetlinkBuilder::put_string(uint16_t type, std::string_view value) {
  std::string with_nul(value);
  attribute(type, with_nul.c_str(), with_nul.size() + 1);
}

void NetlinkBuilder::nest(uint16_t type) {
  if (depth_ == kMaxDepth) {
    mistake_ = "nested too deep";
    return;
  }
  nests_[depth_++] = bytes_.size();
  nlattr head{sizeof(nlattr), static_cast<uint16_t>(type | NLA_F_NESTED)};
  append(&head, sizeof head);
}

void NetlinkBuilder::end_nest() {
  if (!depth_) {
    mistake_ = "no nest to end";
    return;
  }
  size_t at = nests_[--depth_];
  if (!mistake_) set_length(at, bytes_.size() - at, false);
}

Result<std::span<char>> NetlinkBuilder::finish() {
  close_message();
  if (!messages_) mistake_ = "no message";
  if (mistake_) return fail(ErrorKind::kInternal, "build netlink message: %s", mistake_);
  return std::span<char>(bytes_);
}

std::optional<uint32_t> NetlinkAttribute::u32() const {
  uint32_t value;
  if (payload.size() != sizeof value) return std::nullopt;
  memcpy(&value, payload.data(), sizeof value);
  return value;
}

std::optional<uint32_t> NetlinkAttribute::be32() const {
  auto value = u32();
  if (value) value = __builtin_bswap32(*value);
  return value;
}

std::optional<uint8_t> NetlinkAttribute::u8() const {
  if (payload.size() != 1) return std::nullopt;
  return static_cast<uint8_t>(payload[0]);
}

std::string_view NetlinkAttribute::text() const { return payload.substr(0, payload.find('\0')); }

std::optional<NetlinkAttribute> NetlinkAttributes::next() {
  nlattr head;
  if (rest_.size() < sizeof head) return std::nullopt;
  memcpy(&head, rest_.data(), sizeof head);
  if (head.nla_len < sizeof head || head.nla_len > rest_.size()) {
    rest_ = {};
    return std::nullopt;
  }
  NetlinkAttribute out{static_cast<uint16_t>(head.nla_type & NLA_TYPE_MASK),
                       rest_.substr(sizeof head, head.nla_len - sizeof head)};
  rest_.remove_prefix(std::min(aligned(head.nla_len), rest_.size()));
  return out;
}

std::optional<NetlinkAttribute> NetlinkAttributes::find(uint16_t type) const {
  NetlinkAttributes all(rest_);
  while (auto attribute = all.next())
    if (attribute->type == type) return attribute;
  return std::nullopt;
}

NetlinkAttributes NetlinkMessage::attributes(size_t header_size) const {
  return NetlinkAttributes(payload.substr(std::min(aligned(header_size), payload.size())));
}

std::optional<NetlinkMessage> NetlinkMessages::next() {
  nlmsghdr head;
  if (rest_.size() < sizeof head) return std::nullopt;
  memcpy(&head, rest_.data(), sizeof head);
  if (head.nlmsg_len < sizeof head || head.nlmsg_len > rest_.size()) {
    rest_ = {};
    return std::nullopt;
  }
  NetlinkMessage out{head.nlmsg_type, head.nlmsg_flags, head.nlmsg_seq,
                     rest_.substr(sizeof head, head.nlmsg_len - sizeof head)};
  rest_.remove_prefix(std::min(aligned(head.nlmsg_len), rest_.size()));
  return out;
}

std::optional<NetlinkStatus> parse_netlink_status(const NetlinkMessage& message) {
  if (message.type != NLMSG_ERROR && message.type != NLMSG_DONE) return std::nullopt;
  int code = 0;
  if (message.payload.size() >= sizeof code) {
    memcpy(&code, message.payload.data(), sizeof code);
  } else if (message.type == NLMSG_ERROR) {
    return std::nullopt;
  }
  NetlinkStatus status;
  // An errno is never above MAX_ERRNO; anything else would be a broken message.
  if (code < 0) status.err = code >= -4095 ? -code : EBADMSG;
  size_t offset = sizeof code;
  if (message.type == NLMSG_ERROR) {
    auto original = message.header<nlmsgerr>();
    if (!original) return status;
    offset = sizeof(nlmsgerr);
    if (!(message.flags & NLM_F_CAPPED) && original->msg.nlmsg_len > sizeof(nlmsghdr))
      offset += aligned(original->msg.nlmsg_len - sizeof(nlmsghdr));
  }
  if (message.flags & NLM_F_ACK_TLVS)
    if (auto text = message.attributes(offset).find(NLMSGERR_ATTR_MSG)) status.text = text->text().substr(0, 256);
  return status;
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol, uint32_t groups) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return fail_errno("socket AF_NETLINK %d", protocol);
  int on = 1;
  // COMPAT(linux<4.12): without extended acknowledgements errors are only less precise.
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  if (groups) {
    // The default of some 200 kB holds about 100 link events; a burst of starts makes more.
    int size = 1 << 20;
    if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
      setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  self.nl_groups = groups;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&self), sizeof self) < 0) return fail_errno("bind AF_NETLINK");
  return NetlinkSocket(std::move(fd));
}

Result<std::string_view> NetlinkSocket::receive(std::span<char> buffer, bool wait, int timeout_ms) {
  for (;;) {
    sockaddr_nl from{};
    iovec part{buffer.data(), buffer.size()};
    msghdr head{};
    head.msg_name = &from;
    head.msg_namelen = sizeof from;
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    ssize_t got = recvmsg(fd_.get(), &head, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      if (!wait) return std::string_view();
      pollfd entry{fd_.get(), POLLIN, 0};
      int ready = poll(&entry, 1, timeout_ms);
      if (ready < 0 && errno != EINTR) return fail_errno("poll netlink socket");
      if (ready == 0) return fail(ErrorKind::kTimeout, "no answer within %d ms", timeout_ms);
      continue;
    }
    if (got < 0 && errno == ENOBUFS) {
      // Notifications were dropped, reported once. An answer that is awaited may still come.
      lost_events_ = true;
      continue;
    }
    if (got < 0) return fail_errno("recvmsg netlink");
    if (head.msg_flags & MSG_TRUNC) return fail(ErrorKind::kExhausted, "netlink answer above %zu bytes", buffer.size());
    if (from.nl_pid != 0) continue;  // not from the kernel: any process may write to our port
    return std::string_view(buffer.data(), static_cast<size_t>(got));
  }
}

Result<> NetlinkSocket::transact(NetlinkBuilder& messages, std::string_view what, const Visitor& visit) {
  auto bytes = TRY(messages.finish());
  std::string name(what);
  char buffer[kReceiveSize];
  for (int attempt = 1;; ++attempt) {
    uint32_t first = sequence_ + 1, last = 0;
    bool dump = false;
    for (size_t at = 0; at + sizeof(nlmsghdr) <= bytes.size();) {
      nlmsghdr head;
      memcpy(&head, bytes.data() + at, sizeof head);
      head.nlmsg_seq = ++sequence_;
      memcpy(bytes.data() + at, &head, sizeof head);
      bool is_dump = (head.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
      if (head.nlmsg_flags & NLM_F_ACK || is_dump) {
        last = head.nlmsg_seq;
        dump = is_dump;
      }
      at += aligned(head.nlmsg_len);
    }
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    ssize_t sent;
    do {
      sent = sendto(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&kernel),
                    sizeof kernel);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) return fail_errno("%s: sendto netlink", name.c_str());

    std::optional<NetlinkStatus> failure;
    bool done = last == 0, interrupted = false;
    int64_t deadline = caisson::monotonic_ns() + int64_t{kAnswerTimeoutMs} * 1'000'000;
    for (;;) {
      // The kernel answers within sendto(), so what is not there after a failure will not come.
      bool wait = !done && !failure;
      auto got = TRY_CTX(receive(buffer, wait, kAnswerTimeoutMs), name);
      if (got.empty()) break;
      NetlinkMessages answers(got);
      while (auto answer = answers.next()) {
        if (answer->sequence - first > sequence_ - first) continue;  // a notification, or an older answer
        if (answer->flags & NLM_F_DUMP_INTR) interrupted = true;
        auto status = parse_netlink_status(*answer);
        if (!status) {
          if (visit && answer->type >= NLMSG_MIN_TYPE) visit(*answer);
          continue;
        }
        if (status->err && !failure) failure = std::move(status);
        if (answer->sequence == last) done = true;
      }
      if (done && dump) break;
      if (wait && caisson::monotonic_ns() > deadline) return fail(ErrorKind::kTimeout, "%s: no answer", name.c_str());
    }
    // Linux 3.1+: the table changed while it was listed. With `visit` the caller sees entries twice, so
    // it must be able to; the few that are used here collect into sets.
    if (dump && interrupted && attempt < kDumpAttempts) continue;
    if (!failure) return {};
    if (failure->text.empty()) return fail_errno_of(failure->err, "%s", name.c_str());
    auto error = fail_errno_of(failure->err, "%s", name.c_str());
    error.error().message += " (" + failure->text + ")";
    return error;
  }
}

Result<> NetlinkSocket::receive_events(int timeout_ms, const Visitor& visit) {
  char buffer[kReceiveSize];
  auto got = TRY(receive(buffer, !lost_events_, timeout_ms));
  if (std::exchange(lost_events_, false)) return fail(ErrorKind::kExhausted, "netlink notifications were lost");
  NetlinkMessages events(got);
  while (auto event = events.next()) visit(*event);
  return {};
}

}  // namespace caisson::sys
