// SPDX-License-Identifier: Apache-2.0
// image untag, diff, tree, attestations: ours, not Docker's; the first three as podman has them.
#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/json_value.h"
#include "cli/listing.h"
#include "cli/remote_parts.h"
#include "cli/units.h"

namespace caisson::cli {

namespace {

Result<JsonValue> inspect_image(App& app, const std::string& name) {
  auto response = TRY(app.engine().get("/images/" + name_path(name) + "/json"));
  return JsonValue::parse(response.body);
}

// The image stays, whatever names it loses.
Result<int> untag(App& app, const Invocation& call) {
  JsonValue image = TRY(inspect_image(app, call.args[0]));
  std::vector<std::string> names(call.args.begin() + 1, call.args.end());
  if (names.empty())
    for (const JsonValue& tag : image.at("RepoTags").items()) names.push_back(tag.text());
  for (std::string& name : names) {
    name = TRY(spec::parse_reference_with_default_tag(name)).familiar();
    const auto& tags = image.at("RepoTags").items();
    if (std::none_of(tags.begin(), tags.end(), [&](const JsonValue& tag) { return tag.text() == name; }))
      return fail(ErrorKind::kNotFound, "image %s is not called '%s'", short_id(image.at("Id").text()).c_str(),
                  name.c_str());
  }
  for (const std::string& name : names) TRY(app.engine().post("/images/" + name_path(name) + "/untag"));
  return 0;
}

Result<int> diff(App& app, const Invocation& call) {
  static constexpr char kMarks[] = {'C', 'A', 'D'};
  http::Query query;
  if (call.args.size() > 1) query.add("base", call.args[1]);
  auto response = TRY(app.engine().get("/images/" + name_path(call.args[0]) + "/changes", query));
  JsonValue changes = TRY(JsonValue::parse(response.body));
  if (call.flags.text("format") == "json") {
    app.out.line(changes.dump());
    return 0;
  }
  for (const JsonValue& change : changes.items()) {
    int64_t kind = change.at("Kind").as_int();
    app.out.line(std::string(1, kind >= 0 && kind < 3 ? kMarks[kind] : '?') + " " + change.at("Path").text());
  }
  return 0;
}

// --- tree -------------------------------------------------------------------------------------------

struct Stack {
  std::vector<std::string> layers;  // base first
  std::vector<std::string> names;
  std::string id;
};

Stack stack_of(const JsonValue& image) {
  Stack out;
  for (const JsonValue& layer : image.at("RootFS", "Layers").items()) out.layers.push_back(layer.text());
  for (const JsonValue& tag : image.at("RepoTags").items()) out.names.push_back(tag.text());
  out.id = image.at("Id").text();
  return out;
}

bool begins_with(const std::vector<std::string>& whole, const std::vector<std::string>& part) {
  return whole.size() >= part.size() && std::equal(part.begin(), part.end(), whole.begin());
}

std::string name_list(const std::vector<std::string>& names) { return "[" + join(names, ", ") + "]"; }

// Every image that is here; one that goes meanwhile is left out.
Result<std::vector<Stack>> all_stacks(App& app) {
  auto response = TRY(app.engine().get("/images/json"));
  JsonValue images = TRY(JsonValue::parse(response.body));
  std::vector<Stack> out;
  for (const JsonValue& image : images.items())
    if (auto found = inspect_image(app, image.at("Id").text())) out.push_back(stack_of(*found));
  return out;
}

// Sizes of the layers, base first, from the history's entries that made one.
Result<std::vector<int64_t>> layer_sizes(App& app, const std::string& id, size_t count) {
  auto response = TRY(app.engine().get("/images/" + name_path(id) + "/history"));
  JsonValue history = TRY(JsonValue::parse(response.body));
  std::vector<int64_t> out;
  for (const JsonValue& entry : history.items())
    if (entry.at("Size").as_int() > 0) out.insert(out.begin(), entry.at("Size").as_int());
  // Empty layers look like steps that made none: then nothing can be said of the single ones.
  if (out.size() != count) out.assign(count, -1);
  return out;
}

void print_layers(App& app, const Stack& image, const std::vector<int64_t>& sizes, const std::vector<Stack>& all) {
  app.out.line("Image Layers");
  for (size_t i = 0; i < image.layers.size(); ++i) {
    std::vector<std::string> top_of;
    std::vector<std::string> below(image.layers.begin(), image.layers.begin() + static_cast<ptrdiff_t>(i) + 1);
    for (const Stack& other : all)
      if (other.layers == below) top_of.insert(top_of.end(), other.names.begin(), other.names.end());
    std::string line = (i + 1 == image.layers.size() ? "└── ID: " : "├── ID: ") + short_id(image.layers[i]);
    if (sizes[i] >= 0) line += " Size: " + human_size(static_cast<double>(sizes[i]), 4);
    if (!top_of.empty()) line += " Top Layer of: " + name_list(top_of);
    app.out.line(line);
  }
}

void print_descendants(App& app, const Stack& image, const std::vector<Stack>& all) {
  app.out.line("Images that stand on it");
  std::vector<std::string> lines;
  for (const Stack& other : all)
    if (other.layers.size() > image.layers.size() && begins_with(other.layers, image.layers))
      lines.push_back("ID: " + short_id(other.id) + " " + name_list(other.names));
  std::sort(lines.begin(), lines.end());
  for (size_t i = 0; i < lines.size(); ++i) app.out.line((i + 1 == lines.size() ? "└── " : "├── ") + lines[i]);
}

Result<int> tree(App& app, const Invocation& call) {
  JsonValue image = TRY(inspect_image(app, call.args[0]));
  Stack stack = stack_of(image);
  std::vector<Stack> all = TRY(all_stacks(app));
  app.out.line("Image ID: " + short_id(stack.id));
  app.out.line("Tags:     " + name_list(stack.names));
  app.out.line("Size:     " + human_size(static_cast<double>(image.at("Size").as_int()), 4));
  if (call.flags.on("whatrequires"))
    print_descendants(app, stack, all);
  else
    print_layers(app, stack, TRY(layer_sizes(app, stack.id, stack.layers.size())), all);
  return 0;
}

// --- attestations -----------------------------------------------------------------------------------

constexpr size_t kMaxAttestations = 500;

struct Attestation {
  std::string subject, type, digest, via;
  int64_t size = 0;
};

std::string platform_text(const JsonValue& platform) {
  if (!platform.is_object()) return "";
  std::string out = platform.at("os").text() + "/" + platform.at("architecture").text();
  if (!platform.at("variant").text().empty()) out += "/" + platform.at("variant").text();
  return out;
}

// Manifests that BuildKit puts into an index beside the images they are about.
Result<> add_from_index(RemoteParts& remote, const spec::Reference& reference, const JsonValue& entries,
                        std::map<std::string, std::string>& platforms, std::vector<Attestation>& out) {
  for (const JsonValue& entry : entries.items()) {
    const JsonValue& notes = entry.at("annotations");
    if (notes.at("vnd.docker.reference.type").text() != "attestation-manifest") {
      platforms[entry.at("digest").text()] = platform_text(entry.at("platform"));
      continue;
    }
    RemoteDocument manifest = TRY(remote.document(by_digest(reference, entry.at("digest").text())));
    for (const JsonValue& layer : manifest.parsed.at("layers").items()) {
      std::string type = layer.at("annotations", "in-toto.io/predicate-type").text();
      if (type.empty()) type = layer.at("mediaType").text();
      out.push_back({notes.at("vnd.docker.reference.digest").text(), type, layer.at("digest").text(), "index",
                     layer.at("size").as_int()});
      if (out.size() > kMaxAttestations)
        return fail(ErrorKind::kExhausted, "more than %zu attestations", kMaxAttestations);
    }
  }
  return {};
}

Result<> add_referrers(RemoteParts& remote, const spec::Reference& reference, const std::string& subject,
                       std::vector<Attestation>& out) {
  JsonValue found = TRY(remote.referrers(reference, subject));
  for (const JsonValue& entry : found.items()) {
    std::string type = entry.at("artifactType").text();
    if (type.empty()) type = entry.at("mediaType").text();
    out.push_back({subject, type, entry.at("digest").text(), "referrers", entry.at("size").as_int()});
    if (out.size() > kMaxAttestations)
      return fail(ErrorKind::kExhausted, "more than %zu attestations", kMaxAttestations);
  }
  return {};
}

Result<int> attestations(App& app, const Invocation& call) {
  static constexpr Column kColumns[] = {{"Subject", "SUBJECT"}, {"Platform", "PLATFORM"}, {"Type", "TYPE"},
                                        {"Digest", "DIGEST"},   {"Size", "SIZE"},         {"Via", "VIA"}};
  Listing listing = TRY(Listing::make(std::string(call.flags.text("format")),
                                      "{{.Subject}}\t{{.Platform}}\t{{.Type}}\t{{.Digest}}\t{{.Size}}\t{{.Via}}",
                                      kColumns, "*formatter.attestation"));
  auto reference = TRY(spec::parse_reference_with_default_tag(call.args[0]));
  RemoteParts remote(app, call.flags.on("insecure"));
  RemoteDocument top = TRY(remote.document(reference));
  std::vector<Attestation> found;
  std::map<std::string, std::string> platforms = {{top.digest, ""}};
  if (top.is_list()) TRY(add_from_index(remote, reference, top.parsed.at("manifests"), platforms, found));
  for (const auto& [digest, platform] : platforms) TRY(add_referrers(remote, reference, digest, found));
  bool whole = call.flags.on("no-trunc") || !listing.is_table();
  for (const Attestation& one : found) {
    JsonValue row = JsonValue::object();
    auto known = platforms.find(one.subject);
    row.set("Digest", whole ? one.digest : short_id(one.digest));
    row.set("Platform", known == platforms.end() ? "" : printable(known->second));
    row.set("Size", human_size(static_cast<double>(one.size), 3));
    row.set("Subject", whole ? printable(one.subject) : short_id(printable(one.subject)));
    row.set("Type", printable(one.type));
    row.set("Via", one.via);
    TRY(listing.add(row));
  }
  listing.print(app.out);
  return 0;
}

Result<> check_diff_format(std::string_view text) {
  if (text == "json") return {};
  return fail(ErrorKind::kInvalid, "only json is supported");
}

constexpr FlagSpec kDiffFlags[] = {
    {.name = "format",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Change the output format (json)",
     .check = check_diff_format},
};
constexpr FlagSpec kTreeFlags[] = {
    {.name = "whatrequires", .usage = "Show the images that stand on this one"},
};
constexpr FlagSpec kAttestationFlags[] = {
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "insecure", .usage = "Allow communication with an insecure registry"},
    {.name = "no-trunc", .usage = "Don't truncate output"},
};

}  // namespace

std::span<const Command> image_layer_commands() {
  static constexpr Command kCommands[] = {
      {.names = "image attestations",
       .usage = "[OPTIONS] IMAGE",
       .summary = "List what a registry has about an image: SBOMs, provenance, signatures",
       .flags = kAttestationFlags,
       .min_args = 1,
       .max_args = 1,
       .function = attestations},
      {.names = "image diff",
       .usage = "[OPTIONS] IMAGE [IMAGE]",
       .summary = "Show what an image changes of the layers below its last one, or of another image",
       .flags = kDiffFlags,
       .min_args = 1,
       .max_args = 2,
       .function = diff},
      {.names = "image tree",
       .usage = "[OPTIONS] IMAGE",
       .summary = "Show an image's layers and which images end with them",
       .flags = kTreeFlags,
       .min_args = 1,
       .max_args = 1,
       .function = tree},
      {.names = "image untag",
       .usage = "IMAGE [NAME...]",
       .summary = "Take names, or all of them, from an image without deleting it",
       .min_args = 1,
       .max_args = -1,
       .function = untag},
  };
  return kCommands;
}

}  // namespace caisson::cli
