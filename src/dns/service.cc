// SPDX-License-Identifier: Apache-2.0
#include "dns/service.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/log.h"
#include "base/text.h"

namespace caisson::dns {
namespace {

uint64_t random_number() {
  uint64_t value = 0;
  // Blocks only before the kernel's pool is ready, at boot.
  while (getrandom(&value, sizeof value, 0) != sizeof value) {
  }
  return value;
}

int family_of(int fd) {
  int family = 0;
  socklen_t size = sizeof family;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0 ? -1 : family;
}

Result<> check_socket(int fd, int type, const char* what) {
  int found = 0, family = family_of(fd);
  socklen_t size = sizeof found;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &found, &size) < 0) return fail_errno("getsockopt '%s'", what);
  if (found != type || (family != AF_INET && family != AF_INET6))
    return fail(ErrorKind::kInvalid, "descriptor '%s': not such a socket", what);
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return fail_errno("fcntl '%s'", what);
  return {};
}

Result<std::vector<Upstream>> read_upstreams(const std::vector<ControlUpstream>& given) {
  if (given.size() > kMaxUpstreams) return fail(ErrorKind::kExhausted, "more than %zu servers", kMaxUpstreams);
  std::vector<Upstream> out;
  for (const auto& entry : given) {
    auto address = parse_address(entry.address);
    if (!address || !entry.port)
      return fail(ErrorKind::kInvalid, "server %s, port %d: neither IPv4 nor IPv6", quoted(entry.address).c_str(),
                  entry.port);
    // Our own address seen from inside would be a loop; in the host's namespace it is another engine's.
    if (entry.address == "127.0.0.11" && !entry.from_host) continue;
    out.push_back({*address, entry.port, entry.from_host});
  }
  return out;
}

Result<View> read_view(const std::vector<ControlNetwork>& given) {
  if (given.size() > kMaxScopeNetworks) return fail(ErrorKind::kExhausted, "more than %zu networks", kMaxScopeNetworks);
  View view;
  for (const auto& network : given) {
    if (network.id.empty() || network.id.size() > kMaxIdText) return fail(ErrorKind::kInvalid, "a network without id");
    if (network.links.size() > kMaxLinks) return fail(ErrorKind::kExhausted, "more than %zu links", kMaxLinks);
    View::Network& entry = view.networks.emplace_back();
    entry.id = network.id;
    for (const auto& [alias, name] : network.links) {
      if (alias.empty() || name.empty() || alias.size() > kMaxNameText || name.size() > kMaxNameText)
        return fail(ErrorKind::kInvalid, "link %s: its names are not 1 to %zu bytes long", quoted(alias).c_str(),
                    kMaxNameText);
      entry.links[to_lower(alias)] = to_lower(name);
    }
  }
  return view;
}

}  // namespace

Service::Service(sys::EventLoop& loop, Clock& clock)
    : loop_(loop), clock_(clock), shuffler_(random_number()), sockets_(loop), forwarder_(clock, sockets_, [] {
        return static_cast<uint16_t>(random_number());
      }) {
  sockets_.report_to(forwarder_);
}

Service::~Service() {
  while (!scopes_.empty()) remove(scopes_.begin());
  loop_.cancel(timer_);
}

ControlAnswer Service::apply(const ControlRequest& request, std::vector<UniqueFd>& fds, std::vector<int>& answer_fds) {
  auto answer_of = [](const Result<>& result) -> ControlAnswer {
    if (result) return {.ok = true};
    return {.ok = false, .error = result.error().message};
  };
  if (request.type == "hello") {
    ++generation_;
    return {.ok = true, .version = kControlVersion};
  }
  if (request.type == "attach") return answer_of(attach(request, fds));
  if (request.type == "resume" || request.type == "scope") {
    auto found = scopes_.find(request.scope);
    if (found == scopes_.end()) return {.error = "no such scope " + quoted(request.scope), .not_found = true};
    Scope& scope = *found->second;
    auto updated = update(scope, request);
    if (updated && request.type == "resume") {
      answer_fds = {scope.udp.get(), scope.tcp.get()};
      for (const auto& fd : scope.query) answer_fds.push_back(fd.get());
    }
    return answer_of(updated);
  }
  if (request.type == "detach") {
    if (auto found = scopes_.find(request.scope); found != scopes_.end()) remove(found);
    return {.ok = true};
  }
  if (request.type == "add")
    return answer_of(zones_.put(
        {request.network, request.network_name, request.endpoint, request.name, request.aliases, request.addresses},
        generation_));
  if (request.type == "remove") {
    zones_.remove(request.network, request.endpoint);
    return {.ok = true};
  }
  if (request.type == "upstreams") return answer_of(set_upstreams(request));
  if (request.type == "sync") {
    synchronize();
    return {.ok = true};
  }
  return {.error = "unknown request " + quoted(request.type)};
}

Result<> Service::attach(const ControlRequest& request, std::vector<UniqueFd>& fds) {
  if (request.scope.empty() || request.scope.size() > kMaxIdText)
    return fail(ErrorKind::kInvalid, "a scope without id");
  if (fds.size() < 2 || fds.size() > 2 + kMaxQueryDescriptors)
    return fail(ErrorKind::kInvalid, "%zu descriptors for a scope", fds.size());
  auto old = scopes_.find(request.scope);
  if (old == scopes_.end() && scopes_.size() >= kMaxScopes)
    return fail(ErrorKind::kExhausted, "more than %zu scopes", kMaxScopes);
  TRY(check_socket(fds[0].get(), SOCK_DGRAM, "udp"));
  TRY(check_socket(fds[1].get(), SOCK_STREAM, "tcp"));
  auto scope = std::make_unique<Scope>();
  scope->number = next_number_++;
  TRY(update(*scope, request));
  scope->udp = std::move(fds[0]);
  scope->tcp = std::move(fds[1]);
  for (size_t i = 2; i < fds.size(); ++i) {
    (family_of(fds[i].get()) == AF_INET ? scope->asks_v4 : scope->asks_v6) = true;
    scope->query.push_back(std::move(fds[i]));
  }
  scope->listener = std::make_unique<ScopeListener>(loop_, shared_, static_cast<QueryHandler&>(*this), scope->number,
                                                    scope->udp.get(), scope->tcp.get());
  TRY(scope->listener->start());
  sockets_.add_scope(scope->number, scope->query);
  if (old != scopes_.end()) remove(old);
  by_number_[scope->number] = scope.get();
  scopes_[request.scope] = std::move(scope);
  return {};
}

Result<> Service::update(Scope& scope, const ControlRequest& request) {
  View view = TRY(read_view(request.networks));
  std::optional<std::vector<Upstream>> upstreams;
  if (request.upstreams) upstreams = TRY(read_upstreams(*request.upstreams));
  scope.view = std::move(view);
  scope.upstreams = std::move(upstreams);
  scope.forward = request.forward;
  scope.ndots_set = request.ndots;
  scope.generation = generation_;
  // What was learnt by other ways does not count any more.
  scope.cache_space = next_number_++;
  return {};
}

Result<> Service::set_upstreams(const ControlRequest& request) {
  if (!request.upstreams) return fail(ErrorKind::kInvalid, "no list of servers");
  upstreams_ = TRY(read_upstreams(*request.upstreams));
  for (auto& [id, scope] : scopes_)
    if (!scope->upstreams) scope->cache_space = next_number_++;
  return {};
}

void Service::remove(TextMap<std::unique_ptr<Scope>>::iterator found) {
  Scope& scope = *found->second;
  // In this order: nothing of the forwarder's may reach a listener that is gone.
  forwarder_.drop_scope(scope.number);
  sockets_.remove_scope(scope.number);
  by_number_.erase(scope.number);
  scopes_.erase(found);
}

void Service::synchronize() {
  zones_.drop_others(generation_);
  for (auto entry = scopes_.begin(); entry != scopes_.end();) {
    auto next = std::next(entry);
    if (entry->second->generation != generation_) remove(entry);
    entry = next;
  }
}

std::vector<Upstream> Service::usable_upstreams(const Scope& scope) const {
  std::vector<Upstream> out = scope.upstreams ? *scope.upstreams : upstreams_;
  // Without sockets inside the container, of that family at least, there is only the host's way.
  for (auto& upstream : out) {
    bool reachable = upstream.address.size == 4 ? scope.asks_v4 : scope.asks_v6;
    if (scope.query.empty() || !reachable) upstream.from_host = true;
  }
  // What the container's own routes and rules let through may be asked from there even on an internal network: a
  // server in that network. By the host's way nothing would stop it.
  if (!scope.forward) std::erase_if(out, [](const Upstream& upstream) { return upstream.from_host; });
  return out;
}

std::optional<std::string> Service::answer(uint64_t number, const Query& query, size_t limit) {
  const Scope& scope = *by_number_.at(number);
  AnswerRules rules{.recursion_available = scope.forward, .ndots_set = scope.ndots_set};
  return answer_locally(zones_, scope.view, query, rules, limit, shuffler_);
}

void Service::forward(uint64_t number, Query query, bool tcp, Done done) {
  const Scope& scope = *by_number_.at(number);
  Forward request;
  request.scope = number;
  request.cache_space = scope.cache_space;
  request.query = std::move(query);
  request.tcp = tcp;
  request.recursion_available = scope.forward;
  request.upstreams = usable_upstreams(scope);
  request.done = std::move(done);
  forwarder_.forward(std::move(request));
  arm_timer();
}

void Service::arm_timer() {
  int64_t due = forwarder_.next_due_ns();
  // Early is harmless: nothing is due then, and the next time is looked up again.
  if (due >= timer_due_ns_ || due == INT64_MAX) return;
  loop_.cancel(timer_);
  timer_due_ns_ = due;
  int64_t delay = std::max<int64_t>(0, due - clock_.monotonic_ns());
  timer_ = loop_.after_ms(delay / 1'000'000 + 1, [this] {
    timer_due_ns_ = INT64_MAX;
    forwarder_.run_due();
    arm_timer();
  });
}

}  // namespace caisson::dns
