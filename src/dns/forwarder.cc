// SPDX-License-Identifier: Apache-2.0
#include "dns/forwarder.h"

#include <algorithm>
#include <utility>

#include "dns/answer.h"

namespace caisson::dns {
namespace {
constexpr int64_t kAvoidNs = 5'000'000'000;  // after the first silence; longer with each one
constexpr unsigned kMaxAvoidSteps = 6;
constexpr size_t kMaxHealthEntries = 4096;
}  // namespace

Forwarder::HealthKey Forwarder::health_key(uint64_t scope, const Upstream& upstream) {
  return {upstream.from_host ? 0 : scope, upstream};
}

void Forwarder::sort_by_health(Forward& request) {
  int64_t now = clock_.monotonic_ns();
  std::ranges::stable_partition(request.upstreams, [&](const Upstream& upstream) {
    auto found = health_.find(health_key(request.scope, upstream));
    return found == health_.end() || found->second.avoid_until_ns <= now;
  });
}

void Forwarder::forward(Forward request) {
  size_t limit = request.query.reply_limit(request.tcp);
  if (auto reply = cache_.find(request.cache_space, request.query)) {
    cut_reply(*reply, request.query, limit);
    return request.done(std::move(*reply));
  }
  auto refuse = [&](Code code) { request.done(reply_with_code(request.query, code, request.recursion_available)); };
  if (request.upstreams.empty()) return refuse(Code::kServerFailure);
  auto of_scope = per_scope_.find(request.scope);
  if (jobs_.size() >= kMaxOutstanding || (of_scope != per_scope_.end() && of_scope->second >= kMaxPerScope))
    return refuse(Code::kRefused);
  ++per_scope_[request.scope];
  sort_by_health(request);
  uint64_t id = next_number_++;
  Job& job = jobs_[id];
  job.tried.resize(request.upstreams.size());
  job.failed.resize(request.upstreams.size());
  job.deadline_ns = clock_.monotonic_ns() + kTotalNs;
  job.request = std::move(request);
  advance(id, job);
}

void Forwarder::reschedule(uint64_t job_id, Job& job, int64_t due_ns) {
  due_.erase({job.due_ns, job_id});
  job.due_ns = std::min(due_ns, job.deadline_ns);
  due_.insert({job.due_ns, job_id});
}

// Asks the next server that has not failed; ends the job where none is left and nobody is waited for.
void Forwarder::advance(uint64_t job_id, Job& job) {
  const Forward& request = job.request;
  for (size_t step = 0; step < request.upstreams.size(); ++step) {
    size_t index = job.next++ % request.upstreams.size();
    if (job.failed[index]) continue;
    // A connection takes care of losses itself.
    if (request.tcp && job.tried[index]) continue;
    job.tried[index] = true;
    uint16_t query_id = random_id_();
    uint64_t attempt = next_number_++;
    if (!transport_.send(attempt, request.scope, request.upstreams[index], request.tcp,
                         make_query(request.query, query_id, request.query.reply_limit(request.tcp)))) {
      job.failed[index] = true;
      continue;
    }
    attempts_[attempt] = {job_id, index, query_id};
    job.attempts.push_back(attempt);
    return reschedule(job_id, job, clock_.monotonic_ns() + kStepNs);
  }
  if (!job.attempts.empty()) return reschedule(job_id, job, job.deadline_ns);
  finish(jobs_.find(job_id), reply_with_code(request.query, Code::kServerFailure, request.recursion_available));
}

void Forwarder::attempt_over(uint64_t attempt) {
  transport_.drop(attempt);
  attempts_.erase(attempt);
}

void Forwarder::finish(Jobs::iterator found, std::string reply) {
  auto node = jobs_.extract(found);
  Job& job = node.mapped();
  due_.erase({job.due_ns, node.key()});
  for (uint64_t attempt : job.attempts) attempt_over(attempt);
  if (auto count = per_scope_.find(job.request.scope); count != per_scope_.end() && --count->second == 0)
    per_scope_.erase(count);
  if (!reply.empty()) job.request.done(std::move(reply));
}

void Forwarder::on_reply(uint64_t attempt, std::string_view message, bool tcp) {
  auto found = attempts_.find(attempt);
  if (found == attempts_.end()) return;
  auto entry = jobs_.find(found->second.job);
  Job& job = entry->second;
  const Forward& request = job.request;
  auto facts = inspect_reply(message, request.query, found->second.query_id);
  if (!facts) {
    // Over UDP it may be anybody's; the right one may follow.
    if (tcp) on_failure(attempt);
    return;
  }
  size_t upstream = found->second.upstream;
  health_.erase(health_key(request.scope, request.upstreams[upstream]));
  if (facts->code == Code::kServerFailure || facts->code == Code::kRefused) return on_failure(attempt);
  cache_.keep(request.cache_space, request.query, message, *facts);
  std::string reply(message);
  adapt_reply(reply, request.query, 0);
  // One that is longer than the client said goes on as it came: there are servers that know no EDNS0 and no TCP.
  if (!facts->whole) cut_reply(reply, request.query, 0);
  finish(entry, std::move(reply));
}

void Forwarder::on_failure(uint64_t attempt) {
  auto found = attempts_.find(attempt);
  if (found == attempts_.end()) return;
  auto [job_id, upstream, query_id] = found->second;
  Job& job = jobs_.at(job_id);
  std::erase(job.attempts, attempt);
  attempt_over(attempt);
  job.failed[upstream] = true;
  bool others_left = false;
  for (size_t i = 0; i < job.tried.size(); ++i) others_left |= !job.tried[i];
  // Those asked already may answer yet; a server not asked is worth more than their patience.
  if (others_left || job.attempts.empty()) advance(job_id, job);
}

void Forwarder::went_silent(const Job& job) {
  if (health_.size() >= kMaxHealthEntries) health_.clear();
  std::set<size_t> silent;
  for (uint64_t attempt : job.attempts) silent.insert(attempts_.at(attempt).upstream);
  for (size_t index : silent) {
    Health& health = health_[health_key(job.request.scope, job.request.upstreams[index])];
    health.failures = std::min(health.failures + 1, kMaxAvoidSteps);
    health.avoid_until_ns = clock_.monotonic_ns() + health.failures * kAvoidNs;
  }
}

void Forwarder::run_due() {
  int64_t now = clock_.monotonic_ns();
  while (!due_.empty() && due_.begin()->first <= now) {
    auto [due, id] = *due_.begin();
    auto entry = jobs_.find(id);
    Job& job = entry->second;
    went_silent(job);
    if (now < job.deadline_ns) {
      advance(id, job);
    } else {
      const Forward& request = job.request;
      finish(entry, reply_with_code(request.query, Code::kServerFailure, request.recursion_available));
    }
  }
}

void Forwarder::drop_scope(uint64_t scope) {
  for (auto entry = jobs_.begin(); entry != jobs_.end();) {
    auto next = std::next(entry);
    if (entry->second.request.scope == scope) finish(entry, "");
    entry = next;
  }
  health_.erase(health_.lower_bound({scope, Upstream{}}), health_.lower_bound({scope + 1, Upstream{}}));
}

}  // namespace caisson::dns
