// SPDX-License-Identifier: Apache-2.0
#include "relay/service.h"

#include <utility>

#include "base/text.h"

namespace caisson::relay {

Service::Service(sys::EventLoop& loop, Clock& clock, ServiceOptions options)
    : tcp_(loop, table_, options.tcp, std::move(options.original)), udp_(loop, clock, options.udp) {}

ControlAnswer Service::apply(const ControlRequest& request, std::vector<UniqueFd>& fds, std::vector<int>& answer_fds) {
  auto answer_of = [](const Result<>& result) -> ControlAnswer {
    if (result) return {.ok = true};
    return {.ok = false, .error = result.error().message};
  };
  if (request.type == "hello") {
    ControlAnswer answer = answer_of(hello(fds));
    answer.version = kControlVersion;
    answer.sockets = static_cast<uint32_t>(udp_.sockets());
    if (tcp_.listener() >= 0) answer_fds.push_back(tcp_.listener());
    return answer;
  }
  if (request.type == "sockets") {
    answer_fds = udp_.sockets_from(request.from, kMaxUdpPortsPerRequest);
    return {.ok = true};
  }
  if (request.type == "add") return answer_of(add(request, fds));
  if (request.type == "remove") return answer_of(remove(request));
  if (request.type == "sync") {
    for (uint64_t number : table_.drop_others(generation_)) drop(number);
    return answer_of(tcp_.serve());
  }
  return {.error = "unknown request " + quoted(request.type)};
}

Result<> Service::hello(std::vector<UniqueFd>& fds) {
  ++generation_;
  if (fds.empty()) return {};
  // Clients may be waiting at it already: they are served once the entries are there, which sync says.
  return tcp_.take_listener(std::move(fds[0]));
}

Result<> Service::add(const ControlRequest& request, std::vector<UniqueFd>& fds) {
  Entry entry = TRY(read_entry(request, true));
  auto put = TRY(table_.put(entry, generation_));
  for (uint64_t number : put.displaced) drop(number);
  if (!entry.udp || put.known) return {};
  auto added = udp_.add(put.number, entry, std::move(fds));
  if (!added) table_.remove(entry);
  return added;
}

Result<> Service::remove(const ControlRequest& request) {
  Entry entry = TRY(read_entry(request, false));
  if (auto number = table_.remove(entry)) drop(*number);
  return {};
}

void Service::drop(uint64_t number) {
  tcp_.drop(number);
  udp_.drop(number);
}

}  // namespace caisson::relay
