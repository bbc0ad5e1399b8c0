// SPDX-License-Identifier: Apache-2.0
// container auto-update: containers with the label io.containers.autoupdate are made anew from the image that now has
// their image's name; one that does not come up is rolled back. Ours; podman has it for its systemd units.
#include <time.h>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "cli/auto_update.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/listing.h"
#include "cli/pull.h"
#include "cli/remote_parts.h"

namespace caisson::cli {

namespace {

constexpr const char* kLabel = "io.containers.autoupdate";
constexpr int64_t kNsPerSecond = 1'000'000'000;

struct Update {
  JsonValue container, old_image;
  spec::Reference name;  // of the image
  std::string policy;
};

Result<JsonValue> inspect_image(App& app, const std::string& name) {
  auto response = TRY(app.engine().get("/images/" + name_path(name) + "/json"));
  return JsonValue::parse(response.body);
}

Result<std::vector<Update>> labelled(App& app) {
  http::Query query;
  query.add("filters", std::string(R"({"label":[")") + kLabel + R"("],"status":["running"]})");
  auto response = TRY(app.engine().get("/containers/json", query));
  JsonValue list = TRY(JsonValue::parse(response.body));
  std::vector<Update> out;
  for (const JsonValue& row : list.items()) {
    auto container = inspect_container(app, row.at("Id").text());
    if (!container && container.error().kind == ErrorKind::kNotFound) continue;  // gone meanwhile
    if (!container) return std::unexpected(container.error());
    Update one{std::move(*container), {}, {}, ""};
    one.policy = one.container.at("Config", "Labels").at(kLabel).text();
    if (one.policy != "disabled") out.push_back(std::move(one));
  }
  std::sort(out.begin(), out.end(), [](const Update& a, const Update& b) {
    return a.container.at("Name").text() < b.container.at("Name").text();
  });
  return out;
}

// Whether there is a newer image, which with `take` is then here under the name.
Result<bool> find_newer(App& app, Update& update, bool take) {
  std::string id = update.container.at("Image").text(), image = update.container.at("Config", "Image").text();
  if (update.policy != "registry" && update.policy != "local")
    return fail(ErrorKind::kInvalid, "%s is '%s': it has to be registry, local or disabled", kLabel,
                update.policy.c_str());
  if (update.container.at("HostConfig", "AutoRemove").as_bool())
    return fail(ErrorKind::kInvalid, "it was started with --rm: there would be no way back");
  update.name = TRY_CTX(spec::parse_reference_with_default_tag(image), "'" + image + "' is no name of an image");
  if (!update.name.digest.empty()) return false;
  update.old_image = TRY(inspect_image(app, id));
  if (update.policy == "registry") {
    RemoteParts remote(app);
    std::string digest = TRY(remote.digest(update.name));
    for (const JsonValue& known : update.old_image.at("RepoDigests").items())
      if (known.text() == update.name.familiar_name() + "@" + digest) return false;
    if (!take) return true;
    Output nowhere(-1);
    TRY(pull_image(app, {.image = update.name.familiar(), .quiet = true}, nowhere));
  }
  return TRY(inspect_image(app, update.name.familiar())).at("Id").text() != id;
}

// --- one update -------------------------------------------------------------------------------------

void pause(int64_t ms) {
  timespec time{ms / 1000, ms % 1000 * 1'000'000};
  nanosleep(&time, nullptr);
}

// Until it is healthy, or has run for `grace_s` where it has no health check.
Result<> wait_until_up(App& app, const std::string& id, int64_t grace_s, int64_t timeout_s) {
  int64_t begun = monotonic_ns();
  while (true) {
    JsonValue now = TRY(inspect_container(app, id));
    const JsonValue& state = now.at("State");
    if (!state.at("Running").as_bool() || now.at("RestartCount").as_int() > 0)
      return fail(ErrorKind::kUnavailable, "it ended with exit code %s", state.at("ExitCode").text().c_str());
    int64_t passed = monotonic_ns() - begun;
    std::string health = state.at("Health", "Status").text();
    if (health == "unhealthy") return fail(ErrorKind::kUnavailable, "it is unhealthy");
    if (health == "healthy" || ((health.empty() || health == "none") && passed >= grace_s * kNsPerSecond)) return {};
    if (passed >= timeout_s * kNsPerSecond)
      return fail(ErrorKind::kTimeout, "it is not healthy after %lld s", static_cast<long long>(timeout_s));
    pause(100);
  }
}

Result<> rename_to(App& app, const std::string& id, const std::string& name) {
  http::Query query;
  query.add("name", name);
  TRY(app.engine().post("/containers/" + id + "/rename", query));
  return {};
}

Result<> remove_container(App& app, const std::string& id) {
  http::Query query;
  query.add("force", "1");
  TRY(app.engine().call("DELETE", "/containers/" + id, query));
  return {};
}

// What became of a container, as the listing has it.
constexpr const char* kUpdated = "true";
constexpr const char* kRolledBack = "rolled back";
constexpr const char* kFailed = "failed";

struct Outcome {
  const char* word = kFailed;
  Result<> problem;
};

// Back to what was: the name of the image, too, as whoever starts it next by name wants one that works.
Result<> roll_back(App& app, const Update& update, const std::string& name, const std::string& made) {
  std::string id = update.container.at("Id").text();
  if (!made.empty()) TRY(remove_container(app, made));
  TRY(rename_to(app, id, name));
  TRY(app.engine().post("/containers/" + id + "/start"));
  http::Query tag;
  tag.add("repo", update.name.name());
  tag.add("tag", update.name.tag);
  TRY(app.engine().post("/images/" + name_path(update.container.at("Image").text()) + "/tag", tag));
  return {};
}

Outcome replace(App& app, const Update& update, int64_t grace_s, int64_t timeout_s) {
  const JsonValue& old = update.container;
  std::string id = old.at("Id").text(), name = old.at("Name").text().substr(1), made;
  if (auto aside = rename_to(app, id, name + "-before-update"); !aside)
    return {kFailed, with_context(aside.error(), "setting it aside")};
  auto replaced = [&]() -> Result<> {
    TRY(app.engine().post("/containers/" + id + "/stop"));
    http::Query query;
    query.add("name", name);
    auto response = TRY(app.engine().post("/containers/create", query, updated_config(old, update.old_image).dump()));
    made = TRY(JsonValue::parse(response.body)).at("Id").text();
    TRY(app.engine().post("/containers/" + made + "/start"));
    return wait_until_up(app, made, grace_s, timeout_s);
  }();
  if (replaced) {
    auto removed = remove_container(app, id);
    if (!removed) removed = with_context(removed.error(), "removing the old one");
    return {kUpdated, std::move(removed)};
  }
  if (auto back = roll_back(app, update, name, made); !back)
    return {kFailed, with_context(back.error(), "rolling back " + name)};
  return {kRolledBack, std::move(replaced)};
}

Result<int> auto_update(App& app, const Invocation& call) {
  static constexpr Column kColumns[] = {{"Container", "CONTAINER"},
                                        {"ID", "CONTAINER ID"},
                                        {"Image", "IMAGE"},
                                        {"Policy", "POLICY"},
                                        {"Updated", "UPDATED"}};
  Listing listing = TRY(Listing::make(std::string(call.flags.text("format")),
                                      "{{.Container}}\t{{.ID}}\t{{.Image}}\t{{.Policy}}\t{{.Updated}}", kColumns,
                                      "*formatter.autoUpdate"));
  bool dry_run = call.flags.on("dry-run");
  int64_t grace_s = call.flags.integer("grace"), timeout_s = call.flags.integer("timeout");
  int code = 0;
  for (Update& update : TRY(labelled(app))) {
    std::string name = update.container.at("Name").text().substr(1);
    auto newer = find_newer(app, update, !dry_run);
    Outcome outcome{"false", {}};
    if (!newer)
      outcome = {kFailed, std::unexpected(newer.error())};
    else if (*newer)
      outcome = dry_run ? Outcome{"pending", {}} : replace(app, update, grace_s, timeout_s);
    if (!outcome.problem) {
      code = 1;
      app.complain(name + ": " + outcome.problem.error().message);
    }
    JsonValue row = JsonValue::object();
    row.set("Container", name);
    row.set("ID", short_id(update.container.at("Id").text()));
    row.set("Image", update.container.at("Config", "Image").text());
    row.set("Policy", printable(update.policy));
    row.set("Updated", outcome.word);
    TRY(listing.add(row));
  }
  listing.print(app.out);
  return code;
}

constexpr FlagSpec kFlags[] = {
    {.name = "dry-run", .usage = "Only show what has a newer image"},
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "grace",
     .kind = FlagKind::kInt,
     .type_name = "seconds",
     .usage = "How long a container without health check has to run (default 5)",
     .initial = "5"},
    {.name = "timeout",
     .kind = FlagKind::kInt,
     .type_name = "seconds",
     .usage = "How long one with a health check may take to be healthy (default 120)",
     .initial = "120"},
};

}  // namespace

std::span<const Command> auto_update_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container auto-update",
       .usage = "[OPTIONS]",
       .summary = "Make containers anew whose image's name has another image now",
       .flags = kFlags,
       .function = auto_update,
       .details =
           "Make running containers with the label io.containers.autoupdate anew from the image that their image's\n"
           "name has in its registry (label \"registry\") or here (label \"local\").\n"
           "One that does not come up is rolled back."},
  };
  return kCommands;
}

}  // namespace caisson::cli
