// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_exchange.h"

#include "base/clock.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace caisson::image {
namespace {

bool may_pass(int status) { return status == 408 || status == 429 || (status >= 500 && status != 501); }

// A name that does not exist, a refused connection, another protocol: waiting seldom helps, and somebody is waiting. A
// peer that was silent has been waited for already.
bool is_final(const Error& error) {
  return !worth_retrying(error) || error.kind == ErrorKind::kTimeout || error.message.contains("dial tcp") ||
         error.message.contains("tls: ") || error.message.contains("HTTPS client") ||
         error.message.contains("proxyconnect");
}

}  // namespace

std::unexpected<TransferError> failed(Error error) { return std::unexpected(TransferError{std::move(error), ""}); }

std::unexpected<TransferError> failed_response(registry::RegistryResponse& response) {
  auto body = response.read_all(kMaxErrorBody);
  auto failure = registry::failure_of_response(response.status, body ? *body : "", &response.headers);
  return std::unexpected(TransferError{std::move(failure.error), std::move(failure.code)});
}

std::string header_or_empty(const registry::RegistryResponse& response, std::string_view name) {
  auto value = response.headers.find(name);
  return value ? std::string(*value) : "";
}

std::optional<int64_t> asked_wait(const registry::RegistryResponse& response) {
  return registry::retry_after_s(response.headers, now_ns() / 1'000'000'000);
}

void sleep_before_try(const RetryPolicy& policy, int failures, std::optional<int64_t> asked_s) {
  int64_t delay = static_cast<int64_t>(policy.first_delay_ms) << std::min(failures - 1, 6);
  if (asked_s) delay = std::max(delay, *asked_s * 1000);
  std::this_thread::sleep_for(std::chrono::milliseconds(delay));
}

bool worth_retrying(const Error& error) {
  return error.kind == ErrorKind::kUnavailable || error.kind == ErrorKind::kIo || error.kind == ErrorKind::kTimeout;
}

Result<std::unique_ptr<registry::RegistryResponse>> send_patiently(registry::RegistryClient& client,
                                                                   const registry::RegistryRequest& request,
                                                                   const RetryPolicy& policy) {
  for (int failures = 0;;) {
    auto response = client.send(request);
    bool again = response ? may_pass((*response)->status) : !is_final(response.error());
    if (!again || ++failures >= policy.tries) return response;
    auto wait_s = response ? asked_wait(**response) : std::nullopt;
    if (wait_s && *wait_s > policy.max_wait_s) return response;
    response = fail(ErrorKind::kUnavailable, "trying again");  // lets the connection go before the wait
    sleep_before_try(policy, failures, wait_s);
  }
}

}  // namespace caisson::image
