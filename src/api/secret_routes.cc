// SPDX-License-Identifier: Apache-2.0
// The Secret family of the API, for this host's own secrets: no swarm is needed.
#include <algorithm>

#include "api/router.h"
#include "base/clock.h"
#include "engine/container_filter.h"
#include "engine/engine.h"
#include "engine/events.h"
#include "wire/base64.h"

namespace caisson::api {

namespace {

struct ObjectVersion {
  int64_t index = 0;
};
CAISSON_JSON(ObjectVersion, CAISSON_FIELD("Index", index))

struct SecretSpec {
  std::string name, data;
  spec::StringMap labels;
  std::optional<json::Raw> driver, templating;
};
CAISSON_JSON(SecretSpec, CAISSON_FIELD("Name", name), CAISSON_FIELD("Labels", labels), CAISSON_FIELD_OMIT("Data", data),
             CAISSON_FIELD_OMIT("Driver", driver), CAISSON_FIELD_OMIT("Templating", templating))

struct SecretEntry {
  std::string id, created_at, updated_at;
  ObjectVersion version;
  SecretSpec spec;
};
CAISSON_JSON(SecretEntry, CAISSON_FIELD("ID", id), CAISSON_FIELD("Version", version),
             CAISSON_FIELD("CreatedAt", created_at), CAISSON_FIELD("UpdatedAt", updated_at),
             CAISSON_FIELD("Spec", spec))

// DOCKER-QUIRK: Docker's engine says ID and its documentation Id; clients look for either.
struct SecretId {
  std::string id, again;
};
CAISSON_JSON(SecretId, CAISSON_FIELD("ID", id), CAISSON_FIELD("Id", again))

SecretEntry describe(const engine::Secret& secret) {
  SecretEntry out;
  out.id = secret.id;
  out.created_at = format_rfc3339(secret.created_ns);
  out.updated_at = format_rfc3339(secret.updated_ns);
  out.version.index = secret.version;
  out.spec.name = secret.name;
  out.spec.labels = secret.labels;
  return out;
}

void publish(Context& context, const char* action, const engine::Secret& secret) {
  context.engine.events().publish({"secret", action, secret.id, {{"name", secret.name}}, 0});
}

bool fits(const engine::FilterValues& filters, const engine::Secret& secret) {
  return std::all_of(filters.begin(), filters.end(), [&](const auto& filter) {
    const auto& [key, values] = filter;
    auto matches = [&](const std::string& value) {
      if (key == "id") return secret.id.starts_with(value);
      if (key == "names") return secret.name == value;
      if (key == "name") return secret.name.starts_with(value);
      return engine::label_matches(secret.labels, value);
    };
    return values.empty() || (key == "label" ? std::all_of(values.begin(), values.end(), matches)
                                             : std::any_of(values.begin(), values.end(), matches));
  });
}

void list(Context& context, Call& call) {
  static constexpr std::string_view known[] = {"id", "label", "name", "names"};
  auto filters = engine::parse_filters(call.query().get("filters"), known);
  if (!filters) return call.reply_error(filters.error());
  auto secrets = context.engine.secrets().list();
  if (!secrets) return call.reply_error(secrets.error());
  std::vector<SecretEntry> out;
  for (const auto& secret : *secrets)
    if (fits(*filters, secret)) out.push_back(describe(secret));
  call.reply_with(200, out);
}

void create(Context& context, Call& call) {
  auto request = call.body<SecretSpec>();
  if (!request) return;
  if (request->driver || request->templating)
    return call.reply_error(501, "drivers and templates of secrets are not supported by this release");
  auto data = base64_decode_url(request->data);
  if (!data) return call.reply_error(400, "the field Data is not base64");
  auto secret = context.engine.secrets().create(request->name, request->labels, *data);
  if (!secret) return call.reply_error(secret.error());
  publish(context, "create", *secret);
  call.reply_with(201, SecretId{secret->id, secret->id});
}

void inspect(Context& context, Call& call) {
  auto secret = context.engine.secrets().find(call.argument());
  if (!secret) return call.reply_error(secret.error());
  call.reply_with(200, describe(*secret));
}

void remove(Context& context, Call& call) {
  auto secret = context.engine.secrets().find(call.argument());
  if (!secret) return call.reply_error(secret.error());
  // DOCKER-QUIRK: a secret in use is a bad request, not a conflict.
  if (std::string user = context.engine.containers().user_of_secret(secret->id); !user.empty())
    return call.reply_error(400, "secret '" + secret->name + "' is in use by container " + user.substr(0, 12));
  auto removed = context.engine.secrets().remove(secret->id);
  if (removed) publish(context, "remove", *secret);
  call.reply(removed);
}

void update(Context& context, Call& call) {
  bool good = true;
  auto version = call.number("version", good);
  if (!good) return;
  if (!version) return call.reply_error(400, "the version of the secret is missing");
  auto request = call.body<SecretSpec>();
  if (!request) return;
  auto secret = context.engine.secrets().find(call.argument());
  if (!secret) return call.reply_error(secret.error());
  if (!request->data.empty() || (!request->name.empty() && request->name != secret->name))
    return call.reply_error(400, "only updates to Labels are allowed");
  auto updated = context.engine.secrets().update(secret->id, *version, request->labels);
  // DOCKER-QUIRK: swarm's word for it comes with 500.
  if (!updated && updated.error().kind == ErrorKind::kConflict) return call.reply_error(500, updated.error().message);
  if (updated) publish(context, "update", *secret);
  call.reply(updated, 200);
}

constexpr Route kRoutes[] = {
    {"GET", "/secrets", list},         {"POST", "/secrets/create", create},    {"GET", "/secrets/{}", inspect},
    {"DELETE", "/secrets/{}", remove}, {"POST", "/secrets/{}/update", update},
};

}  // namespace

std::span<const Route> secret_routes() { return kRoutes; }

}  // namespace caisson::api
