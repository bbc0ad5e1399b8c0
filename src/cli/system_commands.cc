// SPDX-License-Identifier: Apache-2.0
// version and info.
#include "cli/command.h"
#include "cli/info_text.h"
#include "cli/json_value.h"
#include "cli/listing.h"

namespace caisson::cli {

namespace {

Result<JsonValue> fetch(App& app, const char* path) {
  auto response = TRY(app.engine().get(path));
  return JsonValue::parse(response.body);
}

Result<int> version(App& app, const Invocation& call) {
  auto server = fetch(app, "/version");
  JsonValue all = version_value(app, server ? *server : JsonValue());
  if (std::string format(call.flags.text("format")); !format.empty()) {
    // Asking for what only the engine knows fails with the reason why it is not there.
    auto text = format_one(format, all);
    if (text) app.out.line(*text);
    if (!server) return std::unexpected(server.error());
    if (!text) return std::unexpected(text.error());
    return 0;
  }
  app.out.print(version_text(all));
  if (!server) return std::unexpected(server.error());
  return 0;
}

Result<int> info(App& app, const Invocation& call) {
  auto server = fetch(app, "/info");
  JsonValue all = server ? *server : JsonValue::object();
  all.set("ClientInfo", client_info(app));
  if (std::string format(call.flags.text("format")); !format.empty()) {
    if (!server) return std::unexpected(server.error());
    app.out.line(TRY(format_one(format, all)));
    return 0;
  }
  app.out.print(info_text(all, server.has_value()));
  if (!server) return std::unexpected(server.error());
  app.out.flush();
  for (const JsonValue& warning : all.at("Warnings").items()) app.complain(warning.text());
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "format", .shorthand = 'f', .kind = FlagKind::kString, .type_name = "string", .usage = kFormatUsage},
};

}  // namespace

std::span<const Command> system_commands() {
  static constexpr Command kCommands[] = {
      {.names = "version",
       .usage = "[OPTIONS]",
       .summary = "Show the Caisson version information",
       .flags = kFlags,
       .function = version},
      {.names = "system info;info",
       .usage = "[OPTIONS]",
       .summary = "Display system-wide information",
       .flags = kFlags,
       .function = info},
  };
  return kCommands;
}

}  // namespace caisson::cli
