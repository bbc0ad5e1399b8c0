// SPDX-License-Identifier: Apache-2.0
// context create, inspect, ls, rm, show, update, use. Moving them in and out is context_transfer.
#include <algorithm>

#include "base/text.h"
#include "cli/command.h"
#include "cli/context_store.h"
#include "cli/context_transfer.h"
#include "cli/listing.h"
#include "sys/files.h"

namespace caisson::cli {

namespace {

constexpr Column kColumns[] = {{"Name", "NAME"},
                               {"Current", ""},
                               {"Description", "DESCRIPTION"},
                               {"DockerEndpoint", "DOCKER ENDPOINT"},
                               {"Error", "ERROR"}};

ContextStore store_of(App& app) { return ContextStore(app.options.config_dir); }

JsonValue docker_endpoint(const std::string& host, bool skip_verify) {
  JsonValue endpoint = JsonValue::object();
  endpoint.set("Host", host);
  endpoint.set("SkipTLSVerify", skip_verify);
  return endpoint;
}

// What "default" stands for: the host that the flags and the environment name.
ContextRecord default_record(App& app) {
  GlobalOptions plain;
  plain.config_dir = app.options.config_dir;
  plain.hosts = app.options.hosts;
  std::string host = plain.hosts.empty() ? environment_value(app.environment, "CAISSON_HOST") : plain.hosts.back();
  if (host.empty()) host = environment_value(app.environment, "DOCKER_HOST");
  if (host.empty()) host = kDefaultHost;
  ContextRecord record{.name = "default", .meta = JsonValue::object(), .tls = {}};
  record.meta.set("Name", "default");
  record.meta.set("Metadata", JsonValue::object());
  JsonValue endpoints = JsonValue::object();
  endpoints.set("docker", docker_endpoint(host, false));
  record.meta.set("Endpoints", std::move(endpoints));
  return record;
}

Result<ContextRecord> find_record(App& app, const std::string& name) {
  if (name == "default") return default_record(app);
  return store_of(app).find(name);
}

Result<bool> parse_switch(const std::string& text) {
  if (text == "true" || text == "1" || text == "t" || text == "T" || text == "TRUE") return true;
  if (text == "false" || text == "0" || text == "f" || text == "F" || text == "FALSE" || text.empty()) return false;
  return fail(ErrorKind::kInvalid, "unable to parse skip-tls-verify value: %s", quoted(text).c_str());
}

// "host=tcp://x:2376,ca=FILE,cert=FILE,key=FILE,skip-tls-verify=true" or "from=OTHER" into the record.
Result<> set_endpoint(App& app, ContextRecord& record, std::string_view text) {
  std::map<std::string, std::string> values;
  for (const std::string& part : split(text, ',')) {
    auto pair = split_once(part, '=');
    if (!pair) return fail(ErrorKind::kInvalid, "unable to parse docker endpoint config: %s", quoted(part).c_str());
    std::string key = to_lower(pair->first);
    if (key != "from" && key != "host" && key != "ca" && key != "cert" && key != "key" && key != "skip-tls-verify")
      return fail(ErrorKind::kInvalid,
                  "unrecognized config key: %s, must be one of: from, host, ca, cert, key, skip-tls-verify",
                  key.c_str());
    values[key] = pair->second;
  }
  JsonValue endpoints = record.meta.at("Endpoints").is_object() ? record.meta.at("Endpoints") : JsonValue::object();
  record.tls.clear();
  if (auto from = values.find("from"); from != values.end()) {
    ContextRecord other = TRY(find_record(app, from->second));
    if (from->second != "default") TRY(store_of(app).read_tls(other));
    endpoints.set("docker", other.meta.at("Endpoints", "docker"));
    record.tls = std::move(other.tls);
  } else {
    bool skip = TRY(parse_switch(values["skip-tls-verify"]));
    const std::string& host = values["host"];
    if (!host.empty()) TRY_CTX(parse_host(host), "unable to create docker endpoint config");
    endpoints.set("docker", docker_endpoint(host, skip));
    const char* keys[] = {"ca", "cert", "key"};
    for (size_t i = 0; i < 3; ++i)
      if (const std::string& file = values[keys[i]]; !file.empty())
        record.tls[std::string("docker/") + kTlsFiles[i]] =
            TRY_CTX(sys::read_file(file, kMaxContextFile), "unable to create docker endpoint config");
  }
  record.meta.set("Endpoints", std::move(endpoints));
  return {};
}

void set_description(ContextRecord& record, std::string_view text) {
  JsonValue metadata = record.meta.at("Metadata").is_object() ? record.meta.at("Metadata") : JsonValue::object();
  metadata.set("Description", text);
  record.meta.set("Metadata", std::move(metadata));
}

Result<int> create(App& app, const Invocation& call) {
  const std::string& name = call.args[0];
  ContextStore store = store_of(app);
  TRY(check_context_name(name));
  if (store.find(name)) return fail(ErrorKind::kConflict, "context \"%s\" already exists", name.c_str());
  ContextRecord record{.name = name, .meta = JsonValue::object(), .tls = {}};
  if (call.flags.changed("docker") && !call.flags.changed("from")) {
    record.meta.set("Name", name);
    record.meta.set("Metadata", JsonValue::object());
    TRY(set_endpoint(app, record, call.flags.text("docker")));
  } else {
    std::string from(call.flags.changed("from") ? call.flags.text("from") : app.options.context);
    ContextRecord other = TRY(find_record(app, from));
    if (from != "default") TRY(store.read_tls(other));
    record.meta = std::move(other.meta);
    record.tls = std::move(other.tls);
    record.meta.set("Name", name);
  }
  if (call.flags.changed("description")) set_description(record, call.flags.text("description"));
  TRY(store.save(record));
  app.out.line(name);
  app.complain("Successfully created context \"" + name + "\"");
  return 0;
}

Result<int> update(App& app, const Invocation& call) {
  const std::string& name = call.args[0];
  ContextStore store = store_of(app);
  TRY(check_context_name(name));
  ContextRecord record = TRY(store.find(name));
  TRY(store.read_tls(record));
  if (call.flags.changed("description")) set_description(record, call.flags.text("description"));
  if (call.flags.changed("docker")) TRY(set_endpoint(app, record, call.flags.text("docker")));
  TRY(store.save(record));
  app.out.line(name);
  app.complain("Successfully updated context \"" + name + "\"");
  return 0;
}

Result<int> use(App& app, const Invocation& call) {
  const std::string& name = call.args[0];
  if (name != "default") {
    TRY(check_context_name(name));
    TRY(store_of(app).find(name));
  }
  TRY(set_current_context(app.options.config_dir, name == "default" ? "" : name));
  app.out.line(name);
  app.complain("Current context is now \"" + name + "\"");
  if (name != "default" && !environment_value(app.environment, "DOCKER_HOST").empty())
    app.complain("Warning: DOCKER_HOST environment variable overrides the active context. To use \"" + name +
                 "\", either set the global --context flag, or unset DOCKER_HOST environment variable.");
  return 0;
}

Result<int> show(App& app, const Invocation&) {
  app.out.line(app.options.context);
  return 0;
}

Result<int> remove(App& app, const Invocation& call) {
  ContextStore store = store_of(app);
  std::string errors;
  auto remove_one = [&](const std::string& name) -> Result<> {
    if (name == "default") return fail(ErrorKind::kInvalid, "context \"default\" cannot be removed");
    TRY(check_context_name(name));
    bool in_use = name == app.options.context;
    if (!call.flags.on("force")) {
      if (!store.find(name)) return fail(ErrorKind::kNotFound, "context \"%s\" does not exist", name.c_str());
      if (in_use)
        return fail(ErrorKind::kConflict, "context \"%s\" is in use, set -f flag to force remove", name.c_str());
    }
    TRY(store.remove(name));
    if (in_use && current_context(app.options.config_dir) == name) TRY(set_current_context(app.options.config_dir, ""));
    return {};
  };
  for (const std::string& name : call.args) {
    if (auto removed = remove_one(name))
      app.out.line(name);
    else
      errors += (errors.empty() ? "" : "\n") + removed.error().message;
  }
  if (errors.empty()) return 0;
  app.complain(errors);
  return 1;
}

Result<int> list(App& app, const Invocation& call) {
  auto records = TRY(store_of(app).list());
  ContextRecord standard = default_record(app);
  set_description(standard, "Current DOCKER_HOST based configuration");
  records.insert(records.begin(), std::move(standard));
  bool found = false;
  for (const auto& record : records) found = found || record.name == app.options.context;
  std::string missing;
  if (!found) {
    // The one in use may be gone; it is listed with the reason.
    ContextRecord gone{.name = app.options.context, .meta = JsonValue::object(), .tls = {}};
    if (auto wanted = store_of(app).find(gone.name); !wanted) missing = wanted.error().message;
    records.push_back(std::move(gone));
  }
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  if (call.flags.on("quiet")) {
    for (const auto& record : records) app.out.line(record.name);
    return 0;
  }
  auto listing = TRY(Listing::make(
      call.flags.text("format"), "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
      kColumns, "ClientContext"));
  for (const auto& record : records) {
    JsonValue row = JsonValue::object();
    row.set("Current", record.name == app.options.context);
    row.set("Description", record.description());
    row.set("DockerEndpoint", record.host());
    row.set("Error", record.meta.members().empty() ? missing : std::string());
    row.set("Name", record.name);
    TRY(listing.add(row));
  }
  listing.print(app.out);
  return 0;
}

Result<JsonValue> inspect_value(App& app, const std::string& name) {
  ContextRecord record = TRY(find_record(app, name));
  ContextStore store = store_of(app);
  bool on_disk = name != "default";
  JsonValue value = JsonValue::object(), material = JsonValue::object(), storage = JsonValue::object();
  value.set("Name", name);
  value.set("Metadata", record.meta.at("Metadata").is_object() ? record.meta.at("Metadata") : JsonValue::object());
  value.set("Endpoints", record.meta.at("Endpoints").is_object() ? record.meta.at("Endpoints") : JsonValue::object());
  if (auto files = store.tls_names(name); on_disk && !files.empty()) material.set("docker", JsonValue(files));
  value.set("TLSMaterial", std::move(material));
  storage.set("MetadataPath", on_disk ? store.meta_dir(name) : "<IN MEMORY>");
  storage.set("TLSPath", on_disk ? store.tls_dir(name) : "<IN MEMORY>");
  value.set("Storage", std::move(storage));
  return value;
}

Result<int> inspect(App& app, const Invocation& call) {
  std::vector<std::string> names = call.args;
  if (names.empty()) names.push_back(app.options.context);
  std::string format(call.flags.text("format")), errors, lines;
  JsonValue all = JsonValue::array();
  for (const std::string& name : names) {
    auto value = inspect_value(app, name);
    if (!value) {
      errors += (errors.empty() ? "" : "\n") + value.error().message;
      continue;
    }
    if (!format.empty())
      lines += TRY(format_one(format, *value)) + "\n";
    else
      all.push(std::move(*value));
  }
  app.out.print(format.empty() ? indent_json(all.dump()) + "\n" : lines);
  if (errors.empty()) return 0;
  app.complain(errors);
  return 1;
}

constexpr FlagSpec kCreateFlags[] = {
    {.name = "description", .kind = FlagKind::kString, .type_name = "string", .usage = "Description of the context"},
    {.name = "docker",
     .kind = FlagKind::kString,
     .type_name = "stringToString",
     .usage = "set the docker endpoint (default [])"},
    {.name = "from", .kind = FlagKind::kString, .type_name = "string", .usage = "create context from a named context"},
};
constexpr FlagSpec kUpdateFlags[] = {
    {.name = "description", .kind = FlagKind::kString, .type_name = "string", .usage = "Description of the context"},
    {.name = "docker",
     .kind = FlagKind::kString,
     .type_name = "stringToString",
     .usage = "set the docker endpoint (default [])"},
};
constexpr FlagSpec kInspectFlags[] = {
    {.name = "format", .shorthand = 'f', .kind = FlagKind::kString, .type_name = "string", .usage = kFormatUsage},
};
constexpr FlagSpec kListFlags[] = {
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "quiet", .shorthand = 'q', .usage = "Only show context names"},
};
constexpr FlagSpec kRemoveFlags[] = {
    {.name = "force", .shorthand = 'f', .usage = "Force the removal of a context in use"},
};

}  // namespace

std::span<const Command> context_commands() {
  static constexpr Command kCommands[] = {
      {.names = "context create",
       .usage = "[OPTIONS] CONTEXT",
       .summary = "Create a context",
       .flags = kCreateFlags,
       .min_args = 1,
       .max_args = 1,
       .function = create},
      {.names = "context export",
       .usage = "CONTEXT [FILE|-]",
       .summary = "Export a context to a tar archive FILE or a tar stream on STDOUT.",
       .min_args = 1,
       .max_args = 2,
       .function = export_context},
      {.names = "context import",
       .usage = "CONTEXT FILE|-",
       .summary = "Import a context from a tar file",
       .min_args = 2,
       .max_args = 2,
       .function = import_context},
      {.names = "context inspect",
       .usage = "[OPTIONS] [CONTEXT] [CONTEXT...]",
       .summary = "Display detailed information on one or more contexts",
       .flags = kInspectFlags,
       .max_args = -1,
       .function = inspect},
      {.names = "context ls;context list",
       .usage = "[OPTIONS]",
       .summary = "List contexts",
       .flags = kListFlags,
       .function = list},
      {.names = "context rm;context remove",
       .usage = "CONTEXT [CONTEXT...]",
       .summary = "Remove one or more contexts",
       .flags = kRemoveFlags,
       .min_args = 1,
       .max_args = -1,
       .function = remove},
      {.names = "context show", .usage = "", .summary = "Print the name of the current context", .function = show},
      {.names = "context update",
       .usage = "[OPTIONS] CONTEXT",
       .summary = "Update a context",
       .flags = kUpdateFlags,
       .min_args = 1,
       .max_args = 1,
       .function = update},
      {.names = "context use",
       .usage = "CONTEXT",
       .summary = "Set the current docker context",
       .min_args = 1,
       .max_args = 1,
       .function = use},
  };
  return kCommands;
}

}  // namespace caisson::cli
