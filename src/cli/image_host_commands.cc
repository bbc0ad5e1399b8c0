// SPDX-License-Identifier: Apache-2.0
// image exists, outdated, scp: ours, not Docker's.
#include <algorithm>

#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/json_value.h"
#include "cli/listing.h"
#include "cli/progress.h"
#include "cli/pull.h"
#include "spec/reference.h"

namespace caisson::cli {

namespace {

// 0: it is there, 1: it is not; anything else that goes wrong is told.
Result<int> exists(App& app, const Invocation& call) {
  auto found = app.engine().get("/images/" + name_path(call.args[0]) + "/json");
  if (!found && found.error().kind != ErrorKind::kNotFound) return std::unexpected(found.error());
  return found ? 0 : 1;
}

// --- outdated ---------------------------------------------------------------------------------------

struct Local {
  std::string name;                  // as it is shown: "busybox:latest"
  std::vector<std::string> digests;  // under which its repository gave it
};

// Tags of images that came from a registry or went to one: others have nothing to be compared with.
Result<std::vector<Local>> local_images(App& app, const std::vector<std::string>& names) {
  std::vector<Local> out;
  auto take = [&](const JsonValue& tags, const JsonValue& digests, const std::string& only) -> Result<> {
    for (const JsonValue& tag : tags.items()) {
      if (!only.empty() && tag.text() != only) continue;
      auto reference = TRY(spec::parse_reference_with_default_tag(tag.text()));
      Local local{tag.text(), {}};
      for (const JsonValue& digest : digests.items()) {
        auto other = spec::parse_reference(digest.text());
        if (other && other->name() == reference.name()) local.digests.push_back(other->digest);
      }
      out.push_back(std::move(local));
    }
    return {};
  };
  if (names.empty()) {
    auto response = TRY(app.engine().get("/images/json"));
    JsonValue images = TRY(JsonValue::parse(response.body));
    for (const JsonValue& image : images.items()) TRY(take(image.at("RepoTags"), image.at("RepoDigests"), ""));
  }
  for (const std::string& name : names) {
    auto reference = TRY(spec::parse_reference_with_default_tag(name));
    auto response = TRY(app.engine().get("/images/" + name_path(name) + "/json"));
    JsonValue image = TRY(JsonValue::parse(response.body));
    TRY(take(image.at("RepoTags"), image.at("RepoDigests"), reference.familiar()));
  }
  std::sort(out.begin(), out.end(), [](const Local& a, const Local& b) { return a.name < b.name; });
  return out;
}

Result<int> outdated(App& app, const Invocation& call) {
  static constexpr Column kColumns[] = {
      {"Image", "IMAGE"}, {"State", "STATE"}, {"Local", "LOCAL"}, {"Remote", "REMOTE"}};
  bool quiet = call.flags.on("quiet");
  Listing listing =
      TRY(Listing::make(quiet ? "{{.Image}}" : std::string(call.flags.text("format")),
                        "{{.Image}}\t{{.State}}\t{{.Local}}\t{{.Remote}}", kColumns, "*formatter.outdated"));
  int code = 0;
  for (const Local& local : TRY(local_images(app, call.args))) {
    JsonValue row = JsonValue::object();
    row.set("Image", local.name);
    row.set("Local", local.digests.empty() ? "" : short_id(local.digests[0]));
    std::string state = "local only", remote;
    if (!local.digests.empty()) {
      auto reference = TRY(spec::parse_reference_with_default_tag(local.name));
      http::Headers headers;
      if (std::string auth = registry_auth(app, reference.domain); !auth.empty()) headers.add("X-Registry-Auth", auth);
      auto response =
          app.engine().call("GET", "/distribution/" + name_path(reference.full()) + "/json", {}, {}, headers);
      if (response) {
        remote = TRY(JsonValue::parse(response->body)).at("Descriptor", "digest").text();
        bool same = std::find(local.digests.begin(), local.digests.end(), remote) != local.digests.end();
        state = same ? "up to date" : "outdated";
      } else {
        state = "unknown";
        app.complain(local.name + ": " + response.error().message);
        code = 1;
      }
    }
    row.set("State", state);
    row.set("Remote", remote.empty() ? "" : short_id(remote));
    row.sort_members();
    if (!quiet || state == "outdated") TRY(listing.add(row));
  }
  listing.print(app.out);
  return code;
}

// --- scp --------------------------------------------------------------------------------------------

// "HOST::IMAGE", "HOST::" or "IMAGE"; HOST is a context's name or an address as -H takes it.
struct Place {
  std::string host, image;
};
Place parse_place(const std::string& text) {
  size_t at = text.find("::");
  return at == text.npos ? Place{"", text} : Place{text.substr(0, at), text.substr(at + 2)};
}

Result<Engine> engine_at(const App& app, const std::string& host) {
  GlobalOptions options = app.options;
  if (!host.empty()) {
    options.hosts.clear();
    options.context.clear();
    options.host_text.clear();
    options.host_tls = {};
    options.autostart = false;
    if (host.find("://") != host.npos)
      options.hosts = {host};
    else
      options.context = host;
    TRY(choose_host(options, app.environment));
  }
  return Engine(std::move(options), app.environment);
}

struct BodySource final : ByteSource {
  explicit BodySource(http::Client& client) : client_(client) {}
  Result<size_t> read(std::span<char> buffer) override { return client_.read(buffer); }
  http::Client& client_;
};

Result<int> scp(App& app, const Invocation& call) {
  Place from = parse_place(call.args[0]), to = call.args.size() > 1 ? parse_place(call.args[1]) : Place{};
  if (from.image.empty()) return fail(ErrorKind::kInvalid, "which image? the form is [HOST::]IMAGE [HOST::]");
  if (!to.image.empty())
    return fail(ErrorKind::kInvalid, "the image keeps its name: the second argument is HOST::, not '%s'",
                call.args[1].c_str());
  if (from.host.empty() && to.host.empty())
    return fail(ErrorKind::kInvalid, "both places are this engine: the form is [HOST::]IMAGE [HOST::]");
  Engine source = TRY(engine_at(app, from.host)), target = TRY(engine_at(app, to.host));
  http::Query query, quiet;
  query.add("names", from.image);
  quiet.add("quiet", "1");
  Engine::Stream archive = TRY(source.open({.path = "/images/get", .query = query}));
  BodySource body(*archive.client);
  http::Headers headers;
  headers.add("Content-Type", "application/x-tar");
  Engine::Stream answer = TRY(target.open({.method = "POST",
                                           .path = "/images/load",
                                           .query = quiet,
                                           .headers = headers,
                                           .body = {},
                                           .body_stream = &body}));
  TRY(show_progress(answer, app.out, false));
  return 0;
}

constexpr FlagSpec kOutdatedFlags[] = {
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "quiet", .shorthand = 'q', .usage = "Only the names of images that are outdated"},
};

}  // namespace

std::span<const Command> image_host_commands() {
  static constexpr Command kCommands[] = {
      {.names = "image exists",
       .usage = "IMAGE",
       .summary = "Tell by the exit code whether an image is here",
       .min_args = 1,
       .max_args = 1,
       .function = exists},
      {.names = "image outdated",
       .usage = "[OPTIONS] [IMAGE...]",
       .summary = "Compare images with what their registries have under the same names",
       .flags = kOutdatedFlags,
       .max_args = -1,
       .function = outdated},
      {.names = "image scp",
       .usage = "[HOST::]IMAGE [HOST::]",
       .summary = "Copy an image from one engine to another, without a registry",
       .min_args = 1,
       .max_args = 2,
       .function = scp,
       .details = "HOST is a context or an address as -H takes it; without one it is this engine."},
  };
  return kCommands;
}

}  // namespace caisson::cli
