// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_url.h"

#include <optional>
#include <thread>
#include <vector>

#include "base/text.h"
#include "image/fetch_session.h"
#include "image/packed_stream.h"
#include "image/pull_stream.h"
#include "wire/http.h"
#include "wire/registry_dial.h"
#include "wire/registry_url.h"

namespace caisson::image {

namespace {

class UrlSource : public ByteSource {
 public:
  ~UrlSource() override {
    pipe_.reset();
    if (session_) session_->abort();
    if (caller_.joinable()) caller_.join();
  }

  Result<> start(const std::string& url, const std::string& host, const std::string& fetch_program) {
    FetchConfig config;
    config.fetch_program = fetch_program;
    FetchSetup setup;
    setup.host = host;
    session_ = TRY(FetchSession::start(config, setup, nullptr));
    Pipe pipe = TRY(make_pipe());
    pipe_ = std::move(pipe.read_end);
    source_.emplace(pipe_.get(), static_cast<int64_t>(kMaxStreamBytes), quoted(url));
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(pipe.write_end));
    caller_ = std::thread([this, url, given = std::move(fds)]() mutable {
      reply_ = session_->call(FetchJob{.kind = "url", .reference = url}, std::move(given));
    });
    return {};
  }

  Result<size_t> read(std::span<char> buffer) override {
    if (buffer.empty()) return size_t{0};
    size_t got = TRY(source_->read(buffer));
    if (got > 0) return got;
    if (caller_.joinable()) caller_.join();
    if (!reply_) return std::unexpected(reply_.error());
    return size_t{0};
  }

 private:
  std::unique_ptr<FetchSession> session_;
  UniqueFd pipe_;
  std::optional<MeteredSource> source_;
  std::thread caller_;
  Result<FetchReply> reply_;
};

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

Result<std::unique_ptr<ByteSource>> open_url(const std::string& url, const std::string& fetch_program) {
  auto parsed = registry::parse_url(url);
  if (!parsed) return fail(ErrorKind::kInvalid, "%s is no http or https URL", quoted(url.substr(0, 200)).c_str());
  auto source = std::make_unique<UrlSource>();
  TRY(source->start(parsed->text(), parsed->host_header(), fetch_program));
  return source;
}

Result<> download_url(const std::string& text, const std::string& ca_pem, ByteSink& out) {
  auto url = registry::parse_url(text);
  if (!url) return fail(ErrorKind::kInvalid, "%s is no http or https URL", quoted(text).c_str());
  auto dialer = TRY(registry::Dialer::create({.ca_pem = ca_pem, .trusted_host = url->host_header()}));
  std::optional<registry::AddressScope> first_scope;
  for (int hops = 0;;) {
    // The user named the first host; where that one sends us is judged as for a registry.
    auto judge = [&](registry::AddressScope scope) -> Result<> {
      return first_scope ? registry::check_redirect_address(*url, *first_scope, scope) : Result<>();
    };
    auto client = dialer->dial(*url, judge);
    if (!client) return with_context(std::move(client).error(), "Get \"" + url->text() + "\"");
    if (!first_scope) first_scope = dialer->last_scope();
    http::ClientRequest request;
    request.target = dialer->request_target(*url);
    request.headers.set("User-Agent", "caisson-fetch/0.1");
    request.headers.set("Accept-Encoding", "identity");
    if (auto proxy = dialer->proxy_authorization(*url); !proxy.empty())
      request.headers.set("Proxy-Authorization", proxy);
    auto response = (*client)->open(request);
    if (!response) return with_context(std::move(response).error(), "Get \"" + url->text() + "\"");
    auto location = response->headers.find("Location");
    if (is_redirect(response->status) && location) {
      auto next = registry::resolve_location(*url, *location);
      if (!next) return fail(ErrorKind::kDenied, "refusing redirect to %s", quoted(*location).c_str());
      TRY(registry::check_redirect(*url, *next, hops++));
      url = *next;
      continue;
    }
    if (response->status == 404) return fail(ErrorKind::kNotFound, "Get \"%s\": not found", url->text().c_str());
    if (response->status != 200)
      return fail(ErrorKind::kUnavailable, "Get \"%s\": unexpected status %d %s", url->text().c_str(), response->status,
                  http::status_text(response->status));
    std::vector<char> buffer(256 << 10);
    while (size_t got = TRY((*client)->read(buffer))) TRY(out.write({buffer.data(), got}));
    return {};
  }
}

}  // namespace caisson::image
