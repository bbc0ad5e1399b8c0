// SPDX-License-Identifier: Apache-2.0
// The Image family of the API.
#include <fnmatch.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <set>

#include "api/client_quirks.h"
#include "api/router.h"
#include "api/version_shapes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "image/pull.h"
#include "spec/docker_system.h"
#include "spec/reference.h"
#include "wire/base64.h"

namespace caisson::api {

namespace {

// A taken-over connection that turns progress lines into a chunked answer: the head goes out with the
// first line, so that a failure before it still gets its own status.
class ProgressAnswer {
 public:
  explicit ProgressAnswer(std::unique_ptr<http::TakenConnection> connection) : connection_(std::move(connection)) {}

  void line(const std::string& json_line) {
    if (gone_) return;
    if (!begun_) begin(200);
    if (!gone_ && !connection_->write(json_line)) gone_ = true;
  }
  void finish(const Result<>& outcome, bool error_was_told) {
    if (!outcome && !begun_) {
      begin(status_of(outcome.error().kind));
      if (!gone_ && !connection_->write(error_body(outcome.error().message))) gone_ = true;
    } else if (!outcome && !error_was_told) {
      std::string text = json::quote(outcome.error().message);
      line("{\"errorDetail\":{\"message\":" + text + "},\"error\":" + text + "}\r\n");
    } else if (!begun_) {
      begin(200);
    }
    close();
  }
  // The same where Docker's answer is a success before the work begins.
  void finish_in_body(const Result<>& outcome) {
    if (!begun_) begin(200);
    finish(outcome, false);
  }
  http::TakenConnection& connection() { return *connection_; }
  bool gone() const { return gone_; }

 private:
  void close() {
    // A client that has gone away has nobody left to tell.
    if (!gone_ && !connection_->finish()) gone_ = true;
  }
  void begin(int status) {
    begun_ = true;
    http::Headers headers;
    headers.add("Content-Type", "application/json");
    if (!connection_->begin_response(status, headers)) gone_ = true;
  }
  std::unique_ptr<http::TakenConnection> connection_;
  bool begun_ = false, gone_ = false;
};

Result<> outcome_of(Result<std::string>&& result) {
  if (!result) return std::unexpected(std::move(result).error());
  return {};
}

image::FetchConfig fetch_config(Context& context) {
  image::FetchConfig config;
  config.fetch_program = context.engine.options().program_dir + "/caisson-fetch";
  config.insecure_registries = context.engine.live_options()->insecure_registries;
  config.mirrors = context.engine.live_options()->registry_mirrors;
  config.certs_dir = context.engine.options().certs_dir;
  config.tmp_dir = context.engine.paths().temporary();
  return config;
}

Result<std::string> registry_auth(const http::Request& request) {
  auto header = request.headers.find("x-registry-auth");
  if (!header || header->empty()) return std::string();
  auto decoded = base64_decode_url(*header);
  if (!decoded) return fail(ErrorKind::kInvalid, "invalid X-Registry-Auth header: not base64");
  return *decoded;
}

void publish(Context& context, const char* action, const image::Image& image, const std::string& name) {
  context.engine.events().publish_image(action, image.id, name, image.config.config.labels);
}

// Pulls and pushes are known by the reference.
void publish_transfer(Context& context, const char* action, const spec::Reference& reference) {
  auto image = context.engine.images().find(reference.familiar());
  context.engine.events().publish_image(action, reference.familiar(), reference.familiar_name(),
                                        image ? image->config.config.labels : spec::StringMap{});
}

void pull(Context& context, Call& call) {
  const auto& query = call.query();
  if (!query.get("fromSrc").empty())
    return call.reply_error(501, "importing an image (fromSrc) is not supported by this release");
  std::string name = query.get("fromImage"), tag = query.get("tag");
  if (name.empty()) return call.reply_error(400, "invalid reference format");
  if (!tag.empty()) name += (tag.find(':') != std::string::npos ? "@" : ":") + tag;
  auto reference = spec::parse_reference(name);
  if (!reference) return call.reply_error(reference.error());
  auto auth = registry_auth(call.request());
  if (!auth) return call.reply_error(auth.error());
  image::TransferRequest request;
  request.reference = *reference;
  request.auth_json = *auth;
  if (call.version >= 32) request.platform = query.get("platform");
  std::atomic<bool> cancel = false;
  request.cancel = &cancel;
  ProgressAnswer answer(call.exchange->take_over());
  bool told = false;
  auto pulled = image::pull(context.engine.images(), fetch_config(context), request, [&](const std::string& line) {
    told = true;
    answer.line(line);
    if (answer.gone()) cancel = true;
  });
  if (pulled) publish_transfer(context, "pull", *reference);
  answer.finish(outcome_of(std::move(pulled)), told);
}

void push(Context& context, Call& call) {
  std::string name = call.argument(), tag = call.query().get("tag");
  if (!tag.empty()) name += ":" + tag;
  auto reference = spec::parse_reference(name);
  if (!reference) return call.reply_error(reference.error());
  auto auth = registry_auth(call.request());
  if (!auth) return call.reply_error(auth.error());
  image::TransferRequest request;
  request.reference = *reference;
  request.auth_json = *auth;
  std::atomic<bool> cancel = false;
  request.cancel = &cancel;
  ProgressAnswer answer(call.exchange->take_over());
  bool told = false;
  auto pushed = image::push(context.engine.images(), fetch_config(context), request, [&](const std::string& line) {
    told = true;
    answer.line(line);
    if (answer.gone()) cancel = true;
  });
  if (pushed) publish_transfer(context, "push", *reference);
  answer.finish(outcome_of(std::move(pushed)), told);
}

void load(Context& context, Call& call) {
  bool quiet = call.query().flag("quiet");
  ProgressAnswer answer(call.exchange->take_over());
  auto loaded = context.engine.images().load(answer.connection(), [&](const std::string& line) {
    if (!quiet || line.find("\"stream\"") != std::string::npos) answer.line(line);
  });
  if (loaded)
    for (const auto& name : *loaded)
      if (auto image = context.engine.images().find(name)) publish(context, "load", *image, image->id);
  Result<> outcome;
  if (!loaded) outcome = std::unexpected(std::move(loaded).error());
  // DOCKER-QUIRK: a load that fails is a 200 whose body holds the error; SDKs look for it only there.
  answer.finish_in_body(outcome);
}

void save_names(Context& context, Call& call, const std::vector<std::string>& names) {
  for (const auto& name : names)
    if (auto image = context.engine.images().find(name); !image) return call.reply_error(image.error());
  auto connection = call.exchange->take_over();
  http::Headers headers;
  headers.add("Content-Type", "application/x-tar");
  if (!connection->begin_response(200, headers)) return;
  auto saved = context.engine.images().save(names, *connection);
  // Without the closing chunk the client knows that the archive is not whole.
  if (!saved) return log_warn("saving images: %s", saved.error().message.c_str());
  for (const auto& name : names)
    if (auto image = context.engine.images().find(name)) publish(context, "save", *image, image->id);
  [[maybe_unused]] auto finished = connection->finish();
}

void save_one(Context& context, Call& call) { save_names(context, call, {call.argument()}); }
void save_many(Context& context, Call& call) { save_names(context, call, call.query().all("names")); }

void list(Context& context, Call& call) {
  std::map<std::string, std::set<std::string>> filters;
  std::string filter_text = call.query().get("filters");
  if (!filter_text.empty()) {
    auto raw = json::decode<std::map<std::string, json::Raw>>(filter_text);
    if (!raw) return call.reply_error(400, "invalid filter: " + raw.error().message);
    for (const auto& [key, value] : *raw) {
      if (key != "reference" && key != "dangling" && key != "label" && key != "before" && key != "since" &&
          key != "until")
        return call.reply_error(400, format("invalid filter '%s'", key.substr(0, 64).c_str()));
      if (auto values = json::decode<std::vector<std::string>>(value.text))
        filters[key].insert(values->begin(), values->end());
      else if (auto set = json::decode<std::map<std::string, bool>>(value.text))
        for (const auto& [entry, wanted] : *set)
          if (wanted) filters[key].insert(entry);
    }
  }
  // Of 1.24 and before, and let pass up to 1.40.
  if (std::string name = call.query().get("filter");
      call.version < 41 && !name.empty() && !filters.contains("reference"))
    filters["reference"].insert(name);
  if (filters.contains("until"))
    return call.reply_error(501, "the image filter 'until' is not supported by this release");
  auto created_of = [&](const std::string& key) -> std::optional<int64_t> {
    if (!filters.contains(key) || filters[key].empty()) return std::nullopt;
    auto image = context.engine.images().find(*filters[key].begin());
    return image ? image->created_ns : 0;
  };
  auto before = created_of("before"), since = created_of("since");
  auto glob_matches = [](const std::string& pattern, const spec::Reference& name) {
    std::string familiar = name.familiar_name(), with_tag = familiar + ":" + name.tag;
    return fnmatch(pattern.c_str(), familiar.c_str(), FNM_PATHNAME) == 0 ||
           fnmatch(pattern.c_str(), with_tag.c_str(), FNM_PATHNAME) == 0;
  };
  std::map<std::string, image::Usage::PerImage> usage;
  std::map<std::string, int64_t> users;
  if (call.version >= 51)
    for (const auto& container : context.engine.containers().list()) ++users[container->snapshot()->image_id];
  if (call.version >= 42 && call.query().flag("shared-size"))
    for (auto& entry : context.engine.images().usage().images) usage[entry.id] = entry;
  std::vector<spec::ImageSummary> out;
  for (const auto& image : context.engine.images().list()) {
    bool dangling = image.repo_tags.empty();
    if (filters.contains("dangling")) {
      bool wanted = filters["dangling"].contains("true") || filters["dangling"].contains("1");
      if (wanted != dangling) continue;
    }
    if (before && image.created_ns >= *before) continue;
    if (since && image.created_ns <= *since) continue;
    if (filters.contains("label")) {
      bool good = true;
      for (const auto& wanted : filters["label"]) {
        auto pair = split_once(wanted, '=');
        auto found = image.config.config.labels.find(pair ? pair->first : wanted);
        good = good && found != image.config.config.labels.end() && (!pair || pair->second == found->second);
      }
      if (!good) continue;
    }
    spec::ImageSummary summary;
    summary.id = image.id;
    for (const auto& tag : image.repo_tags) {
      auto reference = spec::parse_reference(tag);
      bool shown = !filters.contains("reference");
      if (!shown && reference)
        for (const auto& pattern : filters["reference"]) shown = shown || glob_matches(pattern, *reference);
      if (shown) summary.repo_tags.push_back(tag);
    }
    if (filters.contains("reference") && summary.repo_tags.empty()) continue;
    summary.repo_digests = image.repo_digests;
    summary.created = image.created_ns / 1000000000;
    summary.size = image.size;
    summary.labels = image.config.config.labels;
    summary.containers = users[image.id];
    if (auto found = usage.find(image.id); found != usage.end()) summary.shared_size = found->second.shared_size;
    out.push_back(std::move(summary));
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.created > b.created; });
  call.reply_with(200, out, Shape::kImageSummary);
}

void inspect(Context& context, Call& call) {
  auto image = context.engine.images().find(call.argument());
  if (!image) return call.reply_error(image.error());
  spec::ImageInspect out;
  out.id = image->id;
  out.repo_tags = image->repo_tags;
  out.repo_digests = image->repo_digests;
  out.created = image->config.created;
  out.docker_version = image->config.docker_version;
  out.author = image->config.author;
  out.architecture = image->config.architecture;
  out.variant = image->config.variant;
  out.os = image->config.os;
  if (!image->config.history.empty()) out.comment = image->config.history.back().comment;
  out.size = image->size;
  out.graph_driver.name = "overlay2";
  if (auto chain = context.engine.images().layers(image->id); chain && !chain->directories.empty()) {
    std::vector<std::string> lowers(chain->directories.rbegin(), chain->directories.rend());
    out.graph_driver.data["UpperDir"] = lowers[0];
    if (lowers.size() > 1) out.graph_driver.data["LowerDir"] = join({lowers.begin() + 1, lowers.end()}, ":");
  }
  out.root_fs.layers = image->config.rootfs.diff_ids;
  out.metadata.last_tag_time = image->last_tagged_ns ? format_rfc3339(image->last_tagged_ns) : std::string(kZeroTime);
  // The image's own words, so that fields we do not know come through as well.
  auto members = json::decode<std::map<std::string, json::Raw>>(image->config_json);
  if (members)
    if (auto found = members->find("config"); found != members->end()) out.config = found->second;
  call.version = image_inspect_version(call.request().headers.find("user-agent").value_or(""), call.version);
  call.reply_with(200, out, Shape::kImageInspect);
}

void history(Context& context, Call& call) {
  auto entries = context.engine.images().history(call.argument());
  if (!entries) return call.reply_error(entries.error());
  std::vector<spec::ImageHistoryItem> out;
  for (auto& entry : *entries)
    out.push_back({entry.id, entry.created_s, entry.created_by, entry.tags, entry.size, entry.comment});
  call.reply_with(200, out);
}

void tag(Context& context, Call& call) {
  std::string repo = call.query().get("repo"), name = call.query().get("tag");
  // Without a tag of its own the repository may hold one: the Python SDK sends "repo=name:tag".
  auto tagged = context.engine.images().tag(call.argument(), repo, name);
  auto target = spec::parse_reference(name.empty() ? repo : repo + ":" + name);
  if (tagged && target)
    if (auto image = context.engine.images().find(call.argument())) publish(context, "tag", *image, target->familiar());
  call.reply(tagged, 201);
}

void remove(Context& context, Call& call) {
  auto image = context.engine.images().find(call.argument());
  auto removed = context.engine.images().remove(
      call.argument(), call.query().flag("force"),
      [&](const std::string& id) { return context.engine.containers().user_of_image(id); });
  if (!removed) return call.reply_error(removed.error());
  std::vector<spec::ImageDeleteItem> out;
  for (auto& entry : *removed) {
    if (image) publish_removed(context.engine.events(), *image, entry.untagged, entry.deleted);
    out.push_back({entry.untagged, entry.deleted});
  }
  call.reply_with(200, out);
}

struct LoginRequest {
  std::string server;
};
CAISSON_JSON(LoginRequest, CAISSON_FIELD("serveraddress", server))
struct LoginAnswer {
  std::string status, identity_token;
};
CAISSON_JSON(LoginAnswer, CAISSON_FIELD("Status", status), CAISSON_FIELD("IdentityToken", identity_token))

void login(Context& context, Call& call) {
  auto request = call.body<LoginRequest>();
  if (!request) return;
  auto checked = image::check_login(fetch_config(context), request->server, call.request().body);
  if (checked) return call.reply_with(200, LoginAnswer{"Login Succeeded", ""});
  // Wrong credentials are the registry's 401, not a lack of rights on this engine.
  if (checked.error().kind == ErrorKind::kDenied) return call.reply_error(401, checked.error().message);
  // One that cannot be reached is not this engine's own absence.
  if (checked.error().kind == ErrorKind::kUnavailable) return call.reply_error(500, checked.error().message);
  call.reply_error(checked.error());
}

constexpr Route kRoutes[] = {
    {"POST", "/auth", login},
    {"GET", "/images/json", list},
    {"POST", "/images/create", pull},
    {"POST", "/images/load", load, true},
    {"GET", "/images/get", save_many},
    {"GET", "/images/{*}/get", save_one},
    {"GET", "/images/{*}/json", inspect},
    {"GET", "/images/{*}/history", history},
    {"POST", "/images/{*}/push", push},
    {"POST", "/images/{*}/tag", tag},
    {"GET", "/images/search", nullptr},
    {"POST", "/images/prune", nullptr},
    {"DELETE", "/images/{*}", remove},
};

}  // namespace

void publish_removed(engine::EventHub& events, const image::Image& image, const std::string& untagged,
                     const std::string& deleted) {
  if (!untagged.empty()) events.publish_image("untag", image.id, image.id, image.config.config.labels);
  // Its layers go with it and have no event of their own.
  if (deleted == image.id) events.publish_image("delete", image.id, image.id);
}

std::span<const Route> image_routes() { return kRoutes; }

}  // namespace caisson::api
