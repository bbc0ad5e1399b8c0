// SPDX-License-Identifier: Apache-2.0
// secret create, inspect, ls, rm; and what `run --secret` means.
#include "cli/secret_commands.h"

#include "base/text.h"
#include "cli/command.h"
#include "cli/container_checks.h"
#include "cli/containers.h"
#include "cli/listing.h"
#include "sys/files.h"
#include "wire/base64.h"

namespace caisson::cli {

namespace {

constexpr size_t kMaxInput = 1 << 20;  // the engine says what is too much

Result<int> create(App& app, const Invocation& call) {
  if (call.args.size() < 2) return fail(ErrorKind::kInvalid, "\"-\" or the name of a file with the secret is missing");
  auto data = call.args[1] == "-" ? sys::read_fd(0, kMaxInput) : sys::read_file(call.args[1], kMaxInput);
  if (!data)
    return fail(data.error().kind, "error reading content from %s: %s", quoted(call.args[1]).c_str(),
                data.error().message.c_str());
  JsonValue body = JsonValue::object();
  body.set("Name", call.args[0]);
  body.set("Labels", string_map(call.flags.list("label")));
  body.set("Data", base64_encode(*data));
  auto response = TRY(app.engine().post("/secrets/create", {}, body.dump()));
  app.out.line(TRY(JsonValue::parse(response.body)).at("ID").text());
  return 0;
}

Result<int> list(App& app, const Invocation& call) {
  static constexpr Column kColumns[] = {
      {"ID", "ID"},        {"Name", "NAME"}, {"Driver", "DRIVER"}, {"CreatedAt", "CREATED"}, {"UpdatedAt", "UPDATED"},
      {"Labels", "LABELS"}};
  std::string format(call.flags.text("format"));
  if (call.flags.on("quiet") && (format.empty() || format == "table")) format = "{{.ID}}";
  Listing listing = TRY(Listing::make(format, "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
                                      kColumns, "*secret.secretContext"));
  http::Query query;
  if (std::string text = filters_json(call.flags.list("filter")); !text.empty()) query.add("filters", text);
  auto response = TRY(app.engine().get("/secrets", query));
  JsonValue secrets = TRY(JsonValue::parse(response.body));
  for (const JsonValue& secret : secrets.items()) {
    std::vector<std::string> labels;
    for (const auto& [key, value] : secret.at("Spec", "Labels").members()) labels.push_back(key + "=" + value.text());
    JsonValue row = JsonValue::object();
    row.set("CreatedAt", age_text(unix_seconds(secret.at("CreatedAt").text())));
    row.set("Driver", "");
    row.set("ID", secret.at("ID").text());
    row.set("Labels", join(labels, ","));
    row.set("Name", secret.at("Spec", "Name").text());
    row.set("UpdatedAt", age_text(unix_seconds(secret.at("UpdatedAt").text())));
    TRY(listing.add(row, secret.at("Spec", "Labels")));
  }
  listing.print(app.out);
  return 0;
}

Result<int> remove(App& app, const Invocation& call) { return remove_objects(app, call.args, "/secrets/"); }

constexpr FlagSpec kCreateFlags[] = {
    {.name = "label",
     .shorthand = 'l',
     .kind = FlagKind::kList,
     .type_name = "list",
     .usage = "Secret labels",
     .check = check_label},
};
constexpr FlagSpec kListFlags[] = {
    {.name = "filter",
     .shorthand = 'f',
     .kind = FlagKind::kList,
     .type_name = "filter",
     .usage = "Filter output based on conditions provided",
     .check = check_filter},
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "quiet", .shorthand = 'q', .usage = "Only display IDs"},
};

}  // namespace

Result<JsonValue> parse_secret_use(std::string_view text) {
  auto invalid = [&](const char* why) {
    return fail(ErrorKind::kInvalid, "invalid secret '%s': %s", std::string(text).c_str(), why);
  };
  JsonValue out = JsonValue::object();
  out.set("Mode", static_cast<int64_t>(0444));
  for (const std::string& field : split(text, ',')) {
    auto pair = split_once(field, '=');
    if (!pair) {
      if (out.find("Source")) return invalid("fields have the form name=value");
      out.set("Source", field);
      continue;
    }
    const auto& [key, value] = *pair;
    if (key == "source" || key == "src") {
      out.set("Source", value);
    } else if (key == "target" || key == "dst") {
      out.set("Target", value);
    } else if (key == "type") {
      if (value != "mount" && value != "env") return invalid("type is neither mount nor env");
      out.set("Type", value);
    } else if (key == "uid" || key == "gid") {
      auto number = parse_uint(value);
      if (!number || *number > UINT32_MAX - 1) return invalid("uid and gid are numbers");
      out.set(key == "uid" ? "UID" : "GID", static_cast<int64_t>(*number));
    } else if (key == "mode") {
      int64_t mode = 0;
      for (char digit : value) {
        if (digit < '0' || digit > '7' || mode > 0777) return invalid("mode is an octal number, 0777 at most");
        mode = mode * 8 + (digit - '0');
      }
      if (value.empty() || mode > 0777) return invalid("mode is an octal number, 0777 at most");
      out.set("Mode", mode);
    } else {
      return invalid("known fields are source, target, type, uid, gid and mode");
    }
  }
  if (out.at("Source").text().empty()) return invalid("the source is missing");
  return out;
}

Result<> check_secret_use(std::string_view text) {
  TRY(parse_secret_use(text));
  return {};
}

std::span<const Command> secret_commands() {
  static constexpr Command kCommands[] = {
      {.names = "secret create",
       .usage = "[OPTIONS] SECRET file|-",
       .summary = "Create a secret from a file or STDIN as content",
       .flags = kCreateFlags,
       .min_args = 1,
       .max_args = 2,
       .function = create},
      {.names = "secret ls;secret list",
       .usage = "[OPTIONS]",
       .summary = "List secrets",
       .flags = kListFlags,
       .function = list},
      {.names = "secret rm;secret remove",
       .usage = "SECRET [SECRET...]",
       .summary = "Remove one or more secrets",
       .min_args = 1,
       .max_args = -1,
       .function = remove},
  };
  return kCommands;
}

}  // namespace caisson::cli
