// SPDX-License-Identifier: Apache-2.0
// The Image family of the API.
#include <atomic>
#include <map>

#include "api/client_watch.h"
#include "api/image_filter.h"
#include "api/import_route.h"
#include "api/progress_answer.h"
#include "api/registry_routes.h"
#include "api/router.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "image/fetch_registries.h"
#include "image/pull.h"
#include "spec/docker_system.h"
#include "spec/reference.h"

namespace caisson::api {

namespace {

Result<> outcome_of(Result<std::string>&& result) {
  if (!result) return std::unexpected(std::move(result).error());
  return {};
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
  if (!query.get("fromSrc").empty()) return import_image(context, call);
  std::string name = query.get("fromImage"), tag = query.get("tag");
  if (name.empty()) return call.reply_error(400, "invalid reference format");
  if (!tag.empty()) name += (tag.find(':') != std::string::npos ? "@" : ":") + tag;
  auto reference = spec::parse_reference(name);
  if (!reference) return call.reply_error(reference.error());
  image::TransferRequest request;
  request.reference = *reference;
  request.is_short = is_short_name(query.get("fromImage"));
  request.auth_json = registry_auth(call.request(), reference->domain);
  if (call.version >= 32) request.platform = query.get("platform");
  std::atomic<bool> cancel = false;
  request.cancel = &cancel;
  ProgressAnswer answer(call.exchange->take_over());
  ClientWatch watch(answer.connection().fd(), cancel);
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
  image::TransferRequest request;
  request.reference = *reference;
  request.auth_json = registry_auth(call.request(), reference->domain);
  std::atomic<bool> cancel = false;
  request.cancel = &cancel;
  ProgressAnswer answer(call.exchange->take_over());
  ClientWatch watch(answer.connection().fd(), cancel);
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
  auto platform = decode_platform(call.version >= 48 ? call.query().get("platform") : "");
  if (!platform) return call.reply_error(platform.error());
  if (auto live = context.engine.live_options(); live->registries)
    if (auto allowed = live->registries->policy.check_archive(); !allowed) return call.reply_error(allowed.error());
  ProgressAnswer answer(call.exchange->take_over());
  auto loaded = context.engine.images().load(
      answer.connection(),
      [&](const std::string& line) {
        if (!quiet || line.find("\"stream\"") != std::string::npos) answer.line(line);
      },
      *platform);
  if (loaded)
    for (const auto& name : *loaded)
      if (auto image = context.engine.images().find(name)) publish(context, "load", *image, image->id);
  Result<> outcome;
  if (!loaded) outcome = std::unexpected(std::move(loaded).error());
  // DOCKER-QUIRK: a load that fails is a 200 whose body holds the error; SDKs look for it only there.
  answer.finish_in_body(outcome);
}

// A repository's name stands for all of its tags.
Result<std::vector<image::Image>> images_to_save(Context& context, const std::string& name) {
  auto& images = context.engine.images();
  std::vector<image::Image> out;
  auto reference = spec::parse_reference(name);
  if (reference && reference->tag.empty() && reference->digest.empty())
    for (const auto& image : images.list())
      for (const auto& tag : image.repo_tags)
        if (auto own = spec::parse_reference(tag); own && own->name() == reference->name()) {
          out.push_back(image);
          break;
        }
  if (out.empty()) out.push_back(TRY(images.find(name)));
  return out;
}

void save_names(Context& context, Call& call, const std::vector<std::string>& names) {
  auto platform = decode_platform(call.version >= 48 ? call.query().get("platform") : "");
  if (!platform) return call.reply_error(platform.error());
  std::map<std::string, image::Image> chosen;
  for (const auto& name : names) {
    auto found = images_to_save(context, name);
    if (!found) return call.reply_error(found.error());
    for (auto& image : *found) {
      if (auto fits = check_platform(image, name, *platform); !fits) return call.reply_error(fits.error());
      chosen.emplace(image.id, image);
    }
  }
  auto connection = call.exchange->take_over();
  http::Headers headers;
  headers.add("Content-Type", "application/x-tar");
  if (!connection->begin_response(200, headers)) return;
  auto saved = context.engine.images().save(names, *connection);
  // Without the closing chunk the client knows that the archive is not whole.
  if (!saved) return log_warn("saving images: %s", saved.error().message.c_str());
  for (const auto& [id, image] : chosen) publish(context, "save", image, id);
  [[maybe_unused]] auto finished = connection->finish();
}

void save_one(Context& context, Call& call) { save_names(context, call, {call.argument()}); }
void save_many(Context& context, Call& call) { save_names(context, call, call.query().all("names")); }

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
      call.argument(), {.force = call.query().flag("force"), .prune_parents = !call.query().flag("noprune")},
      [&](const std::string& id) { return context.engine.containers().users_of_image(id); });
  if (!removed) return call.reply_error(removed.error());
  std::vector<spec::ImageDeleteItem> out;
  for (auto& entry : *removed) {
    if (image) publish_removed(context.engine.events(), *image, entry.untagged, entry.deleted);
    out.push_back({entry.untagged, entry.deleted});
  }
  call.reply_with(200, out);
}

constexpr Route kRoutes[] = {
    {"POST", "/images/create", pull, true}, {"POST", "/images/load", load, true}, {"GET", "/images/get", save_many},
    {"GET", "/images/{*}/get", save_one},   {"POST", "/images/{*}/push", push},   {"POST", "/images/{*}/tag", tag},
    {"POST", "/images/prune", nullptr},     {"DELETE", "/images/{*}", remove},
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
