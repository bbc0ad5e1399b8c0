// SPDX-License-Identifier: Apache-2.0
// manifest create, annotate, inspect, push, rm.
#include <algorithm>

#include "base/text.h"
#include "cli/command.h"
#include "cli/manifest_store.h"
#include "cli/remote_parts.h"
#include "wire/base64.h"

namespace caisson::cli {

namespace {

ManifestStore store_of(const App& app) { return ManifestStore(app.options.config_dir); }

// What Docker's client keeps of a manifest, and shows of it with --verbose.
JsonValue record_of(const RemoteDocument& document, const JsonValue& platform) {
  JsonValue descriptor = JsonValue::object();
  descriptor.set("mediaType", document.media_type);
  descriptor.set("digest", document.digest);
  descriptor.set("size", static_cast<int64_t>(document.text.size()));
  if (platform.is_object()) descriptor.set("platform", platform);
  JsonValue record = JsonValue::object();
  record.set("Ref", document.name);
  record.set("Descriptor", std::move(descriptor));
  record.set("Raw", base64_encode(document.text));
  record.set(document.media_type.contains("vnd.oci.") ? "OCIManifest" : "SchemaV2Manifest", document.parsed);
  return record;
}

Result<RemoteDocument> find_document(RemoteParts& remote, const spec::Reference& reference) {
  auto found = remote.document(reference);
  if (!found && found.error().kind == ErrorKind::kNotFound)
    return fail(ErrorKind::kNotFound, "no such manifest: %s", reference.full().c_str());
  return found;
}

Result<JsonValue> fetch_record(RemoteParts& remote, const spec::Reference& reference) {
  RemoteDocument document = TRY(find_document(remote, reference));
  if (document.is_list()) return fail(ErrorKind::kInvalid, "%s is a manifest list", reference.full().c_str());
  return record_of(document, TRY(remote.platform(by_digest(reference, document.digest))));
}

Result<int> create(App& app, const Invocation& call) {
  spec::Reference list = TRY_CTX(spec::parse_reference_with_default_tag(call.args[0]),
                                 "error parsing name for manifest list " + call.args[0]);
  ManifestStore store = store_of(app);
  auto existing = store.list(list);
  if (!existing && existing.error().kind != ErrorKind::kNotFound) return std::unexpected(existing.error());
  if (existing && !call.flags.on("amend"))
    return fail(ErrorKind::kConflict, "refusing to amend an existing manifest list with no --amend flag");
  RemoteParts remote(app, call.flags.on("insecure"));
  for (size_t i = 1; i < call.args.size(); ++i) {
    auto reference = TRY(spec::parse_reference_with_default_tag(call.args[i]));
    auto record = store.find(list, reference);
    if (!record && record.error().kind != ErrorKind::kNotFound) return std::unexpected(record.error());
    if (!record || record->at("Raw").text().empty()) record = TRY(fetch_record(remote, reference));
    TRY(store.save(list, reference, *record));
  }
  app.out.line("Created manifest list " + list.full());
  return 0;
}

// Members in the order in which Docker's client writes them.
JsonValue annotated_platform(const JsonValue& old, const ParsedFlags& flags) {
  JsonValue features = old.at("os.features").is_array() ? old.at("os.features") : JsonValue::array();
  for (const std::string& given : flags.list("os-features"))
    for (const std::string& feature : split(given, ',')) {
      const auto& items = features.items();
      bool known = std::any_of(items.begin(), items.end(), [&](const JsonValue& f) { return f.text() == feature; });
      if (!known) features.push(feature);
    }
  auto text = [&](const char* member, const char* flag) {
    std::string given(flags.text(flag));
    return given.empty() ? old.at(member).text() : given;
  };
  JsonValue out = JsonValue::object();
  out.set("architecture", text("architecture", "arch"));
  out.set("os", text("os", "os"));
  if (std::string version = text("os.version", "os-version"); !version.empty()) out.set("os.version", version);
  if (!features.items().empty()) out.set("os.features", std::move(features));
  if (std::string variant = text("variant", "variant"); !variant.empty()) out.set("variant", variant);
  return out;
}

Result<int> annotate(App& app, const Invocation& call) {
  auto list = TRY_CTX(spec::parse_reference_with_default_tag(call.args[0]),
                      "annotate: error parsing name for manifest list " + call.args[0]);
  auto reference = TRY_CTX(spec::parse_reference_with_default_tag(call.args[1]),
                           "annotate: error parsing name for manifest " + call.args[1]);
  ManifestStore store = store_of(app);
  auto record = store.find(list, reference);
  if (!record && record.error().kind == ErrorKind::kNotFound)
    return fail(ErrorKind::kNotFound, "manifest for image %s does not exist in %s", call.args[1].c_str(),
                call.args[0].c_str());
  if (!record) return std::unexpected(record.error());
  JsonValue descriptor = record->at("Descriptor");
  JsonValue platform = annotated_platform(descriptor.at("platform"), call.flags);
  if (!is_known_platform(platform.at("os").text(), platform.at("architecture").text()))
    return fail(ErrorKind::kInvalid, "manifest entry for image has unsupported os/arch combination: %s/%s",
                std::string(call.flags.text("os")).c_str(), std::string(call.flags.text("arch")).c_str());
  descriptor.set("platform", std::move(platform));
  record->set("Descriptor", std::move(descriptor));
  TRY(store.save(list, reference, *record));
  return 0;
}

// --- push -------------------------------------------------------------------------------------------

// A manifest of another repository with all it names, filed in the list's own.
Result<> bring_over(App& app, RemoteParts& remote, const spec::Reference& list, const spec::Reference& source,
                    const JsonValue& record) {
  auto text = base64_decode_url(record.at("Raw").text());
  if (!text) return fail(ErrorKind::kCorrupt, "manifest of %s is not base64", source.full().c_str());
  JsonValue manifest = TRY_CTX(JsonValue::parse(*text), "manifest of " + source.full());
  std::vector<JsonValue> blobs = manifest.at("layers").items();
  blobs.push_back(manifest.at("config"));
  for (const JsonValue& blob : blobs) {
    // What lies elsewhere is in no repository.
    if (!blob.at("urls").items().empty()) continue;
    TRY(remote.adopt_blob(list, source.path, {blob.at("digest").text(), blob.at("size").as_int()}));
  }
  auto target = by_digest(list, record.at("Descriptor", "digest").text());
  std::string digest = TRY(remote.put_document(target, record.at("Descriptor", "mediaType").text(), *text));
  app.out.line("Pushed ref " + target.full() + " with digest: " + digest);
  app.out.flush();
  return {};
}

Result<int> push(App& app, const Invocation& call) {
  auto list = TRY(spec::parse_reference_with_default_tag(call.args[0]));
  ManifestStore store = store_of(app);
  std::vector<JsonValue> records = TRY(store.list(list));
  if (records.empty()) return fail(ErrorKind::kNotFound, "%s not found", list.full().c_str());
  ManifestList assembled = TRY(assemble_list(list, records));
  RemoteParts remote(app, call.flags.on("insecure"));
  for (const JsonValue& record : records) {
    auto source = TRY(spec::parse_reference(record.at("Ref").text()));
    if (source.path != list.path) TRY(bring_over(app, remote, list, source, record));
  }
  app.out.line(TRY(remote.put_document(list, assembled.media_type, assembled.text)));
  if (call.flags.on("purge")) TRY(store.remove(list));
  return 0;
}

Result<int> remove(App& app, const Invocation& call) {
  ManifestStore store = store_of(app);
  std::vector<std::string> errors;
  for (const std::string& name : call.args) {
    auto list = TRY(spec::parse_reference_with_default_tag(name));
    if (auto found = store.list(list); !found && found.error().kind == ErrorKind::kNotFound)
      errors.push_back(found.error().message);
    else
      TRY(store.remove(list));
  }
  if (errors.empty()) return 0;
  return fail(ErrorKind::kNotFound, "%s", join(errors, "\n").c_str());
}

// --- inspect ----------------------------------------------------------------------------------------

std::string with_tabs(const JsonValue& value) { return indent_json(value.dump(), 1, '\t'); }

Result<int> show_record(App& app, const JsonValue& record, bool verbose) {
  auto text = base64_decode_url(record.at("Raw").text());
  if (!verbose && !text) return fail(ErrorKind::kCorrupt, "manifest is not base64");
  app.out.line(verbose ? with_tabs(record) : indent_json(*text, 1, '\t'));
  return 0;
}

Result<int> show_remote_list(App& app, RemoteParts& remote, const spec::Reference& reference,
                             const RemoteDocument& list) {
  JsonValue shown = JsonValue::array();
  for (const JsonValue& entry : list.parsed.at("manifests").items()) {
    spec::Reference one = reference;
    one.digest = entry.at("digest").text();
    RemoteDocument document = TRY(remote.document(by_digest(one, one.digest)));
    document.name = one.full();
    shown.push(record_of(document, entry.at("platform")));
  }
  app.out.line(with_tabs(shown));
  return 0;
}

Result<int> inspect(App& app, const Invocation& call) {
  auto reference = TRY(spec::parse_reference_with_default_tag(call.args.back()));
  bool verbose = call.flags.on("verbose");
  ManifestStore store = store_of(app);
  if (call.args.size() == 2) {
    auto list = TRY(spec::parse_reference_with_default_tag(call.args[0]));
    return show_record(app, TRY(store.find(list, reference)), verbose);
  }
  if (auto records = store.list(reference)) {
    if (!verbose) {
      app.out.line(TRY_CTX(assemble_list(reference, *records), "failed to assemble ManifestDescriptor").text);
      return 0;
    }
    JsonValue all = JsonValue::array();
    for (JsonValue& record : *records) all.push(std::move(record));
    app.out.line(with_tabs(all));
    return 0;
  }
  RemoteParts remote(app, call.flags.on("insecure"));
  RemoteDocument document = TRY(find_document(remote, reference));
  if (document.is_list()) {
    if (verbose) return show_remote_list(app, remote, reference, document);
    app.out.line(indent_json(document.text, 3));
    return 0;
  }
  JsonValue platform = verbose ? TRY(remote.platform(by_digest(reference, document.digest))) : JsonValue::null();
  return show_record(app, record_of(document, platform), verbose);
}

constexpr FlagSpec kInsecure = {.name = "insecure", .usage = "Allow communication with an insecure registry"};
constexpr FlagSpec kCreateFlags[] = {
    {.name = "amend", .shorthand = 'a', .usage = "Amend an existing manifest list"},
    kInsecure,
};
constexpr FlagSpec kAnnotateFlags[] = {
    {.name = "arch", .kind = FlagKind::kString, .type_name = "string", .usage = "Set architecture"},
    {.name = "os", .kind = FlagKind::kString, .type_name = "string", .usage = "Set operating system"},
    {.name = "os-features", .kind = FlagKind::kList, .type_name = "strings", .usage = "Set operating system feature"},
    {.name = "os-version", .kind = FlagKind::kString, .type_name = "string", .usage = "Set operating system version"},
    {.name = "variant", .kind = FlagKind::kString, .type_name = "string", .usage = "Set architecture variant"},
};
constexpr FlagSpec kPushFlags[] = {
    {.name = "insecure", .usage = "Allow push to an insecure registry"},
    {.name = "purge", .shorthand = 'p', .usage = "Remove the local manifest list after push"},
};
constexpr FlagSpec kInspectFlags[] = {
    kInsecure,
    {.name = "verbose", .shorthand = 'v', .usage = "Output additional info including layers and platform"},
};

}  // namespace

std::span<const Command> manifest_commands() {
  static constexpr Command kCommands[] = {
      {.names = "manifest annotate",
       .usage = "[OPTIONS] MANIFEST_LIST MANIFEST",
       .summary = "Add additional information to a local image manifest",
       .flags = kAnnotateFlags,
       .min_args = 2,
       .max_args = 2,
       .function = annotate},
      {.names = "manifest create",
       .usage = "MANIFEST_LIST MANIFEST [MANIFEST...]",
       .summary = "Create a local manifest list for annotating and pushing to a registry",
       .flags = kCreateFlags,
       .min_args = 2,
       .max_args = -1,
       .function = create},
      {.names = "manifest inspect",
       .usage = "[OPTIONS] [MANIFEST_LIST] MANIFEST",
       .summary = "Display an image manifest, or manifest list",
       .flags = kInspectFlags,
       .min_args = 1,
       .max_args = 2,
       .function = inspect},
      {.names = "manifest push",
       .usage = "[OPTIONS] MANIFEST_LIST",
       .summary = "Push a manifest list to a repository",
       .flags = kPushFlags,
       .min_args = 1,
       .max_args = 1,
       .function = push},
      {.names = "manifest rm",
       .usage = "MANIFEST_LIST [MANIFEST_LIST...]",
       .summary = "Delete one or more manifest lists from local storage",
       .min_args = 1,
       .max_args = -1,
       .function = remove},
  };
  return kCommands;
}

}  // namespace caisson::cli
