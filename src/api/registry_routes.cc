// SPDX-License-Identifier: Apache-2.0
// Logins, searches and questions about images that are not here.
#include "api/registry_routes.h"

#include <map>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "engine/engine.h"
#include "image/fetch_endpoints.h"
#include "image/fetch_queries.h"
#include "spec/docker_system.h"
#include "spec/reference.h"
#include "wire/base64.h"

namespace caisson::api {

struct LoginRequest {
  std::string server;
};
CAISSON_JSON(LoginRequest, CAISSON_FIELD("serveraddress", server))
struct LoginAnswer {
  std::string status, identity_token;
};
CAISSON_JSON(LoginAnswer, CAISSON_FIELD("Status", status), CAISSON_FIELD("IdentityToken", identity_token))

struct DistributionAnswer {
  spec::Descriptor descriptor;
  std::vector<spec::Platform> platforms;
};
CAISSON_JSON(DistributionAnswer, CAISSON_FIELD("Descriptor", descriptor), CAISSON_FIELD("Platforms", platforms))

struct SearchItem {
  int64_t star_count = 0;
  bool is_official = false;
  std::string name;
  bool is_automated = false;  // Docker Hub has none any more
  std::string description;
};
CAISSON_JSON(SearchItem, CAISSON_FIELD("star_count", star_count), CAISSON_FIELD("is_official", is_official),
             CAISSON_FIELD("name", name), CAISSON_FIELD("is_automated", is_automated),
             CAISSON_FIELD("description", description))

namespace {

constexpr int64_t kDefaultSearchLimit = 25, kMaxSearchLimit = 100;

void login(Context& context, Call& call) {
  auto request = call.body<LoginRequest>();
  if (!request) return;
  auto token = image::check_login(fetch_config(context), request->server, call.request().body);
  if (token) return call.reply_with(200, LoginAnswer{"Login Succeeded", *token});
  // Wrong credentials are the registry's 401, not a lack of rights on this engine.
  if (token.error().kind == ErrorKind::kDenied) return call.reply_error(401, token.error().message);
  call.reply_error(image::as_registry_error(std::move(token).error()));
}

void inspect_distribution(Context& context, Call& call) {
  auto request = remote_request(call);
  if (!request) return;
  std::string code;
  auto found = image::inspect_remote(fetch_config(context), *request, code);
  if (!found) return call.reply_error(status_of_code(code, found.error()), found.error().message);
  call.reply_with(200, DistributionAnswer{std::move(found->descriptor), std::move(found->platforms)});
}

using Filters = std::map<std::string, std::set<std::string>>;

// Docker's two forms: {"stars": ["3"]} and {"stars": {"3": true}}.
Result<Filters> parse_search_filters(const std::string& text) {
  Filters out;
  if (text.empty()) return out;
  auto raw = json::decode<std::map<std::string, json::Raw>>(text);
  if (!raw) return fail(ErrorKind::kInvalid, "invalid filter: %s", raw.error().message.c_str());
  for (const auto& [key, value] : *raw) {
    if (key != "is-automated" && key != "is-official" && key != "stars")
      return fail(ErrorKind::kInvalid, "invalid filter '%s'", key.substr(0, 64).c_str());
    if (auto values = json::decode<std::vector<std::string>>(value.text))
      out[key].insert(values->begin(), values->end());
    else if (auto set = json::decode<std::map<std::string, bool>>(value.text))
      for (const auto& [entry, wanted] : *set)
        if (wanted) out[key].insert(entry);
  }
  return out;
}

// nullopt: any.
Result<std::optional<bool>> wanted_flag(const Filters& filters, const std::string& key) {
  auto found = filters.find(key);
  if (found == filters.end()) return std::optional<bool>();
  bool yes = found->second.contains("true") || found->second.contains("1");
  bool no = found->second.contains("false") || found->second.contains("0");
  if (yes == no)
    return fail(ErrorKind::kInvalid, "invalid filter '%s=%s'", key.c_str(),
                join({found->second.begin(), found->second.end()}, ",").substr(0, 64).c_str());
  return std::optional(yes);
}

Result<int64_t> wanted_stars(const Filters& filters) {
  int64_t out = 0;
  auto found = filters.find("stars");
  if (found == filters.end()) return out;
  for (const auto& text : found->second) {
    auto number = parse_int(text);
    if (!number) return fail(ErrorKind::kInvalid, "invalid filter 'stars=%s'", text.substr(0, 64).c_str());
    out = std::max(out, *number);
  }
  return out;
}

Result<std::vector<SearchItem>> search_items(Context& context, const Call& call, int64_t limit) {
  Filters filters = TRY(parse_search_filters(call.query().get("filters")));
  auto official = TRY(wanted_flag(filters, "is-official")), automated = TRY(wanted_flag(filters, "is-automated"));
  int64_t stars = TRY(wanted_stars(filters));
  std::string term = call.query().get("term");
  auto host = split_once(term, '/');
  std::string auth = registry_auth(call.request(), host ? host->first : "docker.io");
  auto hits = image::search_registry(fetch_config(context), term, limit, auth);
  if (!hits) return std::unexpected(image::as_registry_error(std::move(hits).error()));
  std::vector<SearchItem> out;
  for (auto& hit : *hits) {
    if ((official && *official != hit.is_official) || automated.value_or(false) || hit.star_count < stars) continue;
    out.push_back({hit.star_count, hit.is_official, std::move(hit.name), false, std::move(hit.description)});
  }
  return out;
}

void search(Context& context, Call& call) {
  bool good = true;
  int64_t limit = call.number("limit", good).value_or(0);
  if (!good) return;
  if (limit == 0) limit = kDefaultSearchLimit;
  if (limit < 1 || limit > kMaxSearchLimit)
    return call.reply_error(400, format("limit %lld is outside the range of [1, 100]", static_cast<long long>(limit)));
  auto items = search_items(context, call, limit);
  if (!items) return call.reply_error(items.error());
  call.reply_with(200, *items);
}

constexpr Route kRoutes[] = {
    {"POST", "/auth", login},
    {"GET", "/images/search", search},
    {"GET", "/distribution/{*}/json", inspect_distribution},
};

std::optional<std::string> decoded_header(const http::Request& request, const char* name) {
  auto header = request.headers.find(name);
  if (!header || header->empty()) return std::nullopt;
  auto decoded = base64_decode_url(*header);
  if (!decoded) log_debug("%s is not base64, ignoring", name);
  return decoded;
}

std::string host_of(std::string_view address) {
  if (size_t scheme = address.find("://"); scheme != address.npos) address.remove_prefix(scheme + 3);
  std::string host(address.substr(0, address.find('/')));
  return host == "index.docker.io" || host == "registry-1.docker.io" ? "docker.io" : host;
}

}  // namespace

// The registry's own word decides, as with Docker; 401 stands for "no such image" too in its documentation.
int status_of_code(const std::string& code, const Error& error) {
  if (code == "UNAUTHORIZED") return 401;
  if (code == "DENIED") return 403;
  if (code == "TOOMANYREQUESTS") return 429;
  return status_of(image::as_registry_error(error).kind);
}

std::optional<image::TransferRequest> remote_request(const Call& call) {
  auto reference = spec::parse_reference_with_default_tag(call.argument());
  if (!reference) {
    call.reply_error(reference.error());
    return std::nullopt;
  }
  return image::TransferRequest{.reference = *reference,
                                .auth_json = registry_auth(call.request(), reference->domain),
                                .insecure = call.query().flag("insecure"),
                                .is_short = is_short_name(call.argument())};
}

image::FetchConfig fetch_config(Context& context) {
  auto live = context.engine.live_options();
  const auto& options = context.engine.options();
  image::FetchConfig config;
  config.fetch_program = options.program_dir + "/caisson-fetch";
  config.insecure_registries = live->insecure_registries;
  config.mirrors = live->registry_mirrors;
  config.registries = live->registries;
  config.certs_dirs = options.registry_certs_dirs;
  config.tmp_dir = context.engine.paths().temporary();
  config.timeout_s = options.registry_timeout_s;
  config.max_parallel = live->transfers.downloads;
  config.max_uploads = live->transfers.uploads;
  config.tries = live->transfers.attempts;
  return config;
}

std::string registry_auth(const http::Request& request, const std::string& domain) {
  if (auto auth = decoded_header(request, "X-Registry-Auth")) {
    if (auto readable = json::decode<LoginRequest>(*auth); readable) return *auth;
    log_debug("X-Registry-Auth is not an object, ignoring");
  }
  auto all = decoded_header(request, "X-Registry-Config");
  if (!all) return "";
  auto entries = json::decode<std::map<std::string, json::Raw>>(*all);
  if (!entries) return "";
  for (const auto& [address, entry] : *entries)
    if (host_of(address) == host_of(domain)) return std::string(entry.text);
  return "";
}

bool is_short_name(const std::string& name) {
  auto parts = split_once(name, '/');
  return !parts || (!parts->first.contains('.') && !parts->first.contains(':') && parts->first != "localhost");
}

std::span<const Route> registry_routes() { return kRoutes; }

}  // namespace caisson::api
