// SPDX-License-Identifier: Apache-2.0
// inspect, container inspect, image inspect.
#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/image_platform.h"
#include "cli/listing.h"

namespace caisson::cli {

namespace {

struct ObjectKind {
  const char* type;
  const char* before;  // of the path
  const char* after;
  bool sized;
};

constexpr ObjectKind kKinds[] = {{"container", "/containers/", "/json", true}, {"image", "/images/", "/json", false},
                                 {"network", "/networks/", "", false},         {"volume", "/volumes/", "", false},
                                 {"plugin", "/plugins/", "/json", false},      {"secret", "/secrets/", "", false}};

Result<std::string> fetch(App& app, const ObjectKind& kind, const std::string& name, const ParsedFlags& flags) {
  http::Query query;
  if (kind.sized && flags.find("size") && flags.on("size")) query.add("size", "1");
  if (flags.find("platform") && flags.changed("platform"))
    query.add("platform", TRY(platform_json(flags.text("platform"))));
  auto response = TRY(app.engine().get(kind.before + name_path(name) + kind.after, query));
  return std::move(response.body);
}

// The object of that name of whatever type has one, in the order above.
Result<std::string> fetch_any(App& app, const std::string& name, const ParsedFlags& flags) {
  for (const ObjectKind& kind : kKinds) {
    auto found = fetch(app, kind, name, flags);
    if (found) return found;
    const std::string& message = found.error().message;
    bool elsewhere = found.error().kind == ErrorKind::kNotFound || message.find("not supported") != message.npos ||
                     message.find("invalid reference format") != message.npos;
    if (!elsewhere) return found;
  }
  return fail(ErrorKind::kNotFound, "Error: No such object: %s", name.c_str());
}

Result<int> inspect_all(App& app, const Invocation& call, const ObjectKind* kind) {
  std::string format(call.flags.text("format")), elements, lines, errors;
  if (auto checked = check_format(format); !checked) {
    app.complain(checked.error().message);
    return 64;  // what Docker's client gives for a template it cannot read
  }
  for (const std::string& name : call.args) {
    auto text = kind ? fetch(app, *kind, name, call.flags) : fetch_any(app, name, call.flags);
    if (!text) {
      errors += (errors.empty() ? "" : "\n") + text.error().message;
      continue;
    }
    if (format.empty()) {
      elements += (elements.empty() ? "" : ",") + std::string(trim(*text));
      continue;
    }
    JsonValue value = TRY(JsonValue::parse(*text));
    auto line = format_one(format, value);
    if (!line) {
      // What was shown so far stays, the failed one is an empty line.
      app.out.print(lines + "\n");
      return std::unexpected(line.error());
    }
    lines += *line + "\n";
  }
  if (format.empty())
    app.out.print(elements.empty() ? "[]\n" : indent_json("[" + elements + "]") + "\n");
  else
    app.out.print(lines.empty() ? "\n" : lines);
  if (errors.empty()) return 0;
  app.complain(errors);
  return 1;
}

Result<int> inspect(App& app, const Invocation& call) {
  std::string type(call.flags.text("type"));
  if (type.empty() && !call.flags.changed("type")) return inspect_all(app, call, nullptr);
  for (const ObjectKind& kind : kKinds)
    if (type == kind.type) return inspect_all(app, call, &kind);
  return fail(ErrorKind::kInvalid,
              "unknown type: \"%s\": must be one of \"container\", \"image\", \"network\", \"plugin\", \"volume\"",
              type.c_str());
}

Result<int> container_inspect(App& app, const Invocation& call) { return inspect_all(app, call, &kKinds[0]); }
Result<int> image_inspect(App& app, const Invocation& call) { return inspect_all(app, call, &kKinds[1]); }
Result<int> secret_inspect(App& app, const Invocation& call) { return inspect_all(app, call, &kKinds[5]); }
Result<int> network_inspect(App& app, const Invocation& call) { return inspect_all(app, call, &kKinds[2]); }
Result<int> volume_inspect(App& app, const Invocation& call) { return inspect_all(app, call, &kKinds[3]); }

constexpr FlagSpec kInspectFlags[] = {
    {.name = "format", .shorthand = 'f', .kind = FlagKind::kString, .type_name = "string", .usage = kFormatUsage},
    {.name = "size", .shorthand = 's', .usage = "Display total file sizes if the type is container"},
    {.name = "type",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Only inspect objects of the given type"},
};
constexpr FlagSpec kContainerFlags[] = {
    {.name = "format", .shorthand = 'f', .kind = FlagKind::kString, .type_name = "string", .usage = kFormatUsage},
    {.name = "size", .shorthand = 's', .usage = "Display total file sizes"},
};
constexpr FlagSpec kImageFlags[] = {
    {.name = "format", .shorthand = 'f', .kind = FlagKind::kString, .type_name = "string", .usage = kFormatUsage},
    {.name = "platform",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Inspect a specific platform of the multi-platform image.\n"
              "If the image or the server is not multi-platform capable, the command will error out if the platform "
              "does not match.\n"
              "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"},
};

constexpr FlagSpec kNetworkFlags[] = {
    {.name = "format", .shorthand = 'f', .kind = FlagKind::kString, .type_name = "string", .usage = kFormatUsage},
    {.name = "verbose", .shorthand = 'v', .usage = "Verbose output for diagnostics"},
};
constexpr FlagSpec kVolumeFlags[] = {
    {.name = "format", .shorthand = 'f', .kind = FlagKind::kString, .type_name = "string", .usage = kFormatUsage},
};

}  // namespace

std::span<const Command> inspect_commands() {
  static constexpr Command kCommands[] = {
      {.names = "inspect",
       .usage = "[OPTIONS] NAME|ID [NAME|ID...]",
       .summary = "Return low-level information on Docker objects",
       .flags = kInspectFlags,
       .min_args = 1,
       .max_args = -1,
       .function = inspect},
      {.names = "container inspect",
       .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
       .summary = "Display detailed information on one or more containers",
       .flags = kContainerFlags,
       .min_args = 1,
       .max_args = -1,
       .function = container_inspect},
      {.names = "network inspect",
       .usage = "[OPTIONS] NETWORK [NETWORK...]",
       .summary = "Display detailed information on one or more networks",
       .flags = kNetworkFlags,
       .min_args = 1,
       .max_args = -1,
       .function = network_inspect},
      {.names = "image inspect",
       .usage = "[OPTIONS] IMAGE [IMAGE...]",
       .summary = "Display detailed information on one or more images",
       .flags = kImageFlags,
       .min_args = 1,
       .max_args = -1,
       .function = image_inspect},
      {.names = "secret inspect",
       .usage = "[OPTIONS] SECRET [SECRET...]",
       .summary = "Display detailed information on one or more secrets",
       .flags = kVolumeFlags,
       .min_args = 1,
       .max_args = -1,
       .function = secret_inspect},
      {.names = "volume inspect",
       .usage = "[OPTIONS] VOLUME [VOLUME...]",
       .summary = "Display detailed information on one or more volumes",
       .flags = kVolumeFlags,
       .min_args = 1,
       .max_args = -1,
       .function = volume_inspect},
  };
  return kCommands;
}

}  // namespace caisson::cli
