// SPDX-License-Identifier: Apache-2.0
// Ours beside Docker's: system check, registry serve and its siblings.
#include "base/text.h"
#include "cli/command.h"
#include "cli/json_value.h"
#include "cli/listing.h"
#include "sys/files.h"

namespace caisson::cli {

namespace {

// Exit code 1 where something is left to be done.
Result<int> check(App& app, const Invocation& call) {
  http::Query query;
  if (call.flags.on("deep")) query.add("deep", "1");
  auto response = TRY(app.engine().post("/caisson/check", query));
  JsonValue report = TRY(JsonValue::parse(response.body));
  bool is_good = true;
  for (const JsonValue& problem : report.at("Problems").items()) is_good = is_good && problem.at("Repaired").as_bool();
  if (std::string format(call.flags.text("format")); !format.empty()) {
    app.out.line(TRY(format_one(format, report)));
    return is_good ? 0 : 1;
  }
  app.out.line(format("%s images, %s blobs, %s layers%s", report.at("Images").text().c_str(),
                      report.at("Blobs").text().c_str(), report.at("Layers").text().c_str(),
                      report.at("Deep").as_bool() ? ", every byte read" : ""));
  if (report.at("OrphansRemoved").as_int() > 0)
    app.out.line("removed what belonged to nothing: " + report.at("OrphansRemoved").text());
  for (const JsonValue& problem : report.at("Problems").items()) {
    std::vector<std::string> images;
    for (const JsonValue& name : problem.at("Images").items()) images.push_back(name.text());
    app.out.line(problem.at("Object").text() + " of " + join(images, ", ") + ": " + problem.at("Problem").text());
    app.out.line("  " + problem.at("Action").text());
  }
  if (report.at("Problems").items().empty()) app.out.line("everything is as it should be");
  return is_good ? 0 : 1;
}

Result<std::string> file_path(const Invocation& call, const char* flag) {
  std::string path(call.flags.text(flag));
  if (path.empty() || path.starts_with('/')) return path;
  return fail(ErrorKind::kInvalid, "--%s: the engine reads the file, so its path has to be absolute", flag);
}

Result<int> registry_serve(App& app, const Invocation& call) {
  JsonValue body = JsonValue::object();
  body.set("Listen", std::string(call.flags.text("listen")));
  body.set("Htpasswd", TRY(file_path(call, "htpasswd")));
  body.set("TLSCert", TRY(file_path(call, "tlscert")));
  body.set("TLSKey", TRY(file_path(call, "tlskey")));
  body.set("ReadOnly", call.flags.on("read-only"));
  auto response = TRY(app.engine().post("/caisson/registry", {}, body.dump()));
  JsonValue status = TRY(JsonValue::parse(response.body));
  app.out.line("serving on " + status.at("Settings", "Listen").text() + "; what is tagged " +
               status.at("LocalName").text() + "/NAME:TAG is served as NAME:TAG");
  return 0;
}

Result<int> registry_stop(App& app, const Invocation&) {
  TRY(app.engine().call("DELETE", "/caisson/registry"));
  return 0;
}

Result<int> registry_status(App& app, const Invocation& call) {
  auto response = TRY(app.engine().get("/caisson/registry"));
  JsonValue status = TRY(JsonValue::parse(response.body));
  if (std::string format(call.flags.text("format")); !format.empty()) {
    app.out.line(TRY(format_one(format, status)));
    return 0;
  }
  app.out.line(status.at("Serving").as_bool() ? "serving on " + status.at("Settings", "Listen").text() : "not serving");
  for (const JsonValue& name : status.at("Repositories").items()) app.out.line(name.text());
  return 0;
}

Result<int> registry_prune(App& app, const Invocation&) {
  auto response = TRY(app.engine().post("/caisson/registry/prune"));
  JsonValue pruned = TRY(JsonValue::parse(response.body));
  app.out.line("manifests deleted: " + pruned.at("ManifestsDeleted").text() +
               ", blobs deleted: " + pruned.at("BlobsDeleted").text());
  return 0;
}

constexpr FlagSpec kFormat = {
    .name = "format", .shorthand = 'f', .kind = FlagKind::kString, .type_name = "string", .usage = kFormatUsage};
constexpr FlagSpec kCheckFlags[] = {{.name = "deep", .usage = "Read every byte of every blob and layer"}, kFormat};
constexpr FlagSpec kStatusFlags[] = {kFormat};
constexpr FlagSpec kServeFlags[] = {
    {.name = "htpasswd",
     .kind = FlagKind::kString,
     .type_name = "file",
     .usage = "Who may use it: lines of user:bcrypt"},
    {.name = "listen",
     .kind = FlagKind::kString,
     .type_name = "address",
     .usage = "Where to serve (default 127.0.0.1:5000)"},
    {.name = "read-only", .usage = "Nothing can be pushed"},
    {.name = "tlscert", .kind = FlagKind::kString, .type_name = "file", .usage = "Certificate; without one plain HTTP"},
    {.name = "tlskey", .kind = FlagKind::kString, .type_name = "file", .usage = "Key of the certificate"}};

}  // namespace

std::span<const Command> store_commands() {
  static constexpr Command kCommands[] = {
      {.names = "system check",
       .usage = "[OPTIONS]",
       .summary = "Check the store of images and repair it",
       .flags = kCheckFlags,
       .function = check},
      {.names = "registry serve",
       .usage = "[OPTIONS]",
       .summary = "Serve images to the network as a registry, until the engine ends or `registry stop`",
       .flags = kServeFlags,
       .function = registry_serve},
      {.names = "registry stop", .usage = "", .summary = "Stop serving", .function = registry_stop},
      {.names = "registry status",
       .usage = "[OPTIONS]",
       .summary = "Show whether and what is served",
       .flags = kStatusFlags,
       .function = registry_status},
      {.names = "registry prune",
       .usage = "",
       .summary = "Remove manifests without a tag and blobs that none names",
       .function = registry_prune},
  };
  return kCommands;
}

}  // namespace caisson::cli
