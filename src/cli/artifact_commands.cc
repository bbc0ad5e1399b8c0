// SPDX-License-Identifier: Apache-2.0
// artifact push, pull, ls, inspect: files in a registry that are no image. Ours, with the manifests that the OCI image
// specification has for it, so that oras and podman read them and theirs are read here.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/listing.h"
#include "cli/remote_parts.h"
#include "cli/units.h"
#include "spec/oci_image.h"
#include "sys/files.h"

namespace caisson::cli {

namespace {

constexpr const char* kTitle = "org.opencontainers.image.title";
constexpr const char* kEmptyType = "application/vnd.oci.empty.v1+json";
constexpr std::string_view kEmptyDocument = "{}";
constexpr size_t kMaxFiles = 1000, kMaxName = 255;

struct TextSource final : ByteSource {
  explicit TextSource(std::string_view text) : text_(text) {}
  Result<size_t> read(std::span<char> buffer) override {
    size_t size = text_.copy(buffer.data(), buffer.size());
    text_.remove_prefix(size);
    return size;
  }
  std::string_view text_;
};

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

JsonValue descriptor(const std::string& media_type, const RemoteBlob& blob) {
  JsonValue out = JsonValue::object();
  out.set("mediaType", media_type);
  out.set("digest", blob.digest);
  out.set("size", blob.size);
  return out;
}

Result<UniqueFd> open_regular(const std::string& path, int64_t& size) {
  UniqueFd fd = TRY(sys::open_file(path, O_RDONLY));
  struct stat status {};
  if (fstat(fd.get(), &status) < 0) return fail_errno("fstat '%s'", path.c_str());
  if (!S_ISREG(status.st_mode)) return fail(ErrorKind::kInvalid, "'%s' is no regular file", path.c_str());
  size = status.st_size;
  return fd;
}

Result<JsonValue> parse_annotations(const std::vector<std::string>& given) {
  JsonValue out = JsonValue::object();
  for (const std::string& text : given) {
    auto pair = split_once(text, '=');
    if (!pair || pair->first.empty())
      return fail(ErrorKind::kInvalid, "annotation '%s' is not of the form KEY=VALUE", text.c_str());
    out.set(pair->first, pair->second);
  }
  return out;
}

Result<int> push(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  auto reference = TRY(spec::parse_reference_with_default_tag(call.args[0]));
  if (!reference.digest.empty()) return fail(ErrorKind::kInvalid, "cannot push a digest reference");
  JsonValue annotations = TRY(parse_annotations(flags.list("annotation")));
  RemoteParts remote(app, flags.on("insecure"));
  JsonValue subject;
  if (flags.changed("subject")) {
    auto of = TRY(spec::parse_reference_with_default_tag(flags.text("subject")));
    if (of.name() != reference.name())
      return fail(ErrorKind::kInvalid, "the subject has to be in the repository '%s'", reference.name().c_str());
    RemoteDocument document = TRY(remote.document(of));
    subject = descriptor(document.media_type, {document.digest, static_cast<int64_t>(document.text.size())});
  }
  std::set<std::string> names;
  for (size_t i = 1; i < call.args.size(); ++i)
    if (!names.insert(base_name(call.args[i])).second)
      return fail(ErrorKind::kInvalid, "two files are called '%s'", base_name(call.args[i]).c_str());
  JsonValue layers = JsonValue::array();
  for (size_t i = 1; i < call.args.size(); ++i) {
    int64_t size = 0;
    UniqueFd file = TRY(open_regular(call.args[i], size));
    sys::FdSource source(file.get());
    RemoteBlob blob = TRY(remote.put_blob(reference, source, size));
    JsonValue layer = descriptor(std::string(flags.text("file-type")), blob);
    JsonValue title = JsonValue::object();
    title.set(kTitle, base_name(call.args[i]));
    layer.set("annotations", std::move(title));
    layers.push(std::move(layer));
  }
  TextSource empty(kEmptyDocument);
  RemoteBlob config = TRY(remote.put_blob(reference, empty, kEmptyDocument.size()));
  JsonValue manifest = JsonValue::object();
  manifest.set("schemaVersion", 2);
  manifest.set("mediaType", spec::kOciManifest);
  manifest.set("artifactType", std::string(flags.text("type")));
  manifest.set("config", descriptor(kEmptyType, config));
  manifest.set("layers", std::move(layers));
  if (subject.is_object()) manifest.set("subject", std::move(subject));
  if (!annotations.members().empty()) manifest.set("annotations", std::move(annotations));
  app.out.line(TRY(remote.put_document(reference, std::string(spec::kOciManifest), manifest.dump())));
  return 0;
}

// --- reading ----------------------------------------------------------------------------------------

struct Artifact {
  spec::Reference reference;
  RemoteDocument document;
};

Result<Artifact> find_artifact(RemoteParts& remote, const std::string& name) {
  Artifact out{TRY(spec::parse_reference_with_default_tag(name)), {}};
  out.document = TRY(remote.document(out.reference));
  if (out.document.is_list())
    return fail(ErrorKind::kInvalid, "'%s' is a list of manifests, not an artifact", name.c_str());
  if (out.document.parsed.at("layers").items().size() > kMaxFiles)
    return fail(ErrorKind::kInvalid, "'%s' has more than %zu files", name.c_str(), kMaxFiles);
  return out;
}

// A file of this name is made in the directory that the user chose, and nowhere else.
bool is_plain_name(const std::string& name) {
  bool good = !name.empty() && name.size() <= kMaxName && name != "." && name != "..";
  for (char c : name) good = good && c != '/' && static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  return good;
}

// Without a title the digest is the name.
std::string file_name(const JsonValue& layer) {
  std::string title = layer.at("annotations", kTitle).text();
  if (!title.empty()) return title;
  std::string digest = layer.at("digest").text();
  return digest.substr(digest.find(':') + 1);
}

// Under another name until it is whole.
Result<> fetch_file(RemoteParts& remote, const Artifact& artifact, const JsonValue& layer, const std::string& path,
                    bool replace) {
  if (!replace && sys::path_exists(path))
    return fail(ErrorKind::kExists, "'%s' exists already (--force replaces it)", path.c_str());
  std::string partial = path.substr(0, path.rfind('/') + 1) + ".artifact-" + std::to_string(getpid()) + ".part";
  UniqueFd file = TRY(sys::open_file(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666));
  auto fetched = [&]() -> Result<> {
    sys::FdSink sink(file.get());
    TRY(remote.get_blob(artifact.reference, {layer.at("digest").text(), layer.at("size").as_int()}, sink));
    if (rename(partial.c_str(), path.c_str()) < 0) return fail_errno("rename '%s'", path.c_str());
    return {};
  }();
  if (!fetched) (void)unlink(partial.c_str());
  return fetched;
}

Result<int> pull(App& app, const Invocation& call) {
  RemoteParts remote(app, call.flags.on("insecure"));
  Artifact artifact = TRY(find_artifact(remote, call.args[0]));
  std::set<std::string> names;
  const auto& layers = artifact.document.parsed.at("layers").items();
  for (const JsonValue& layer : layers) {
    std::string name = file_name(layer);
    if (!is_plain_name(name)) return fail(ErrorKind::kInvalid, "%s is no name of a file", go_quote(name).c_str());
    if (!names.insert(name).second) return fail(ErrorKind::kInvalid, "two files are called '%s'", name.c_str());
  }
  std::string directory(call.flags.text("output"));
  if (directory.empty()) directory = ".";
  TRY(sys::make_dirs(directory));
  for (const JsonValue& layer : layers) {
    std::string path = directory + "/" + file_name(layer);
    TRY(fetch_file(remote, artifact, layer, path, call.flags.on("force")));
    app.out.line(path);
    app.out.flush();
  }
  return 0;
}

Result<int> list(App& app, const Invocation& call) {
  static constexpr Column kColumns[] = {{"Name", "NAME"}, {"Type", "TYPE"}, {"Size", "SIZE"}, {"Digest", "DIGEST"}};
  Listing listing = TRY(Listing::make(std::string(call.flags.text("format")),
                                      "{{.Name}}\t{{.Type}}\t{{.Size}}\t{{.Digest}}", kColumns, "*formatter.artifact"));
  RemoteParts remote(app, call.flags.on("insecure"));
  Artifact artifact = TRY(find_artifact(remote, call.args[0]));
  for (const JsonValue& layer : artifact.document.parsed.at("layers").items()) {
    JsonValue row = JsonValue::object();
    row.set("Digest", layer.at("digest").text());
    row.set("Name", printable(file_name(layer)));
    row.set("Size", human_size(static_cast<double>(layer.at("size").as_int()), 3));
    row.set("Type", printable(layer.at("mediaType").text()));
    TRY(listing.add(row));
  }
  listing.print(app.out);
  return 0;
}

Result<int> inspect(App& app, const Invocation& call) {
  RemoteParts remote(app, call.flags.on("insecure"));
  Artifact artifact = TRY(find_artifact(remote, call.args[0]));
  JsonValue shown = JsonValue::object();
  shown.set("Name", artifact.reference.full());
  shown.set("Digest", artifact.document.digest);
  shown.set("Manifest", artifact.document.parsed);
  std::string format(call.flags.text("format"));
  app.out.line(format.empty() ? indent_json(shown.dump()) : TRY(format_one(format, shown)));
  return 0;
}

constexpr FlagSpec kInsecure = {.name = "insecure", .usage = "Allow communication with an insecure registry"};
constexpr FlagSpec kPushFlags[] = {
    {.name = "annotation", .kind = FlagKind::kList, .type_name = "list", .usage = "KEY=VALUE of the whole artifact"},
    {.name = "file-type",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Media type of the files (default \"application/octet-stream\")",
     .initial = "application/octet-stream"},
    kInsecure,
    {.name = "subject",
     .kind = FlagKind::kString,
     .type_name = "image",
     .usage = "What the artifact is about: it is found by that image's referrers"},
    {.name = "type",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Type of the artifact (default \"application/vnd.unknown.artifact.v1\")",
     .initial = "application/vnd.unknown.artifact.v1"},
};
constexpr FlagSpec kPullFlags[] = {
    {.name = "force", .shorthand = 'f', .usage = "Replace files that exist"},
    kInsecure,
    {.name = "output",
     .shorthand = 'o',
     .kind = FlagKind::kString,
     .type_name = "directory",
     .usage = "Where the files go (default \".\")"},
};
constexpr FlagSpec kListFlags[] = {
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    kInsecure,
};
constexpr FlagSpec kInspectFlags[] = {
    {.name = "format", .shorthand = 'f', .kind = FlagKind::kString, .type_name = "string", .usage = kFormatUsage},
    kInsecure,
};

}  // namespace

std::span<const Command> artifact_commands() {
  static constexpr Command kCommands[] = {
      {.names = "artifact inspect",
       .usage = "[OPTIONS] NAME",
       .summary = "Show an artifact's manifest",
       .flags = kInspectFlags,
       .min_args = 1,
       .max_args = 1,
       .function = inspect},
      {.names = "artifact ls;artifact list",
       .usage = "[OPTIONS] NAME",
       .summary = "List the files of an artifact in a registry",
       .flags = kListFlags,
       .min_args = 1,
       .max_args = 1,
       .function = list},
      {.names = "artifact pull",
       .usage = "[OPTIONS] NAME",
       .summary = "Fetch the files of an artifact from a registry",
       .flags = kPullFlags,
       .min_args = 1,
       .max_args = 1,
       .function = pull},
      {.names = "artifact push",
       .usage = "[OPTIONS] NAME FILE [FILE...]",
       .summary = "Send files to a registry as an artifact",
       .flags = kPushFlags,
       .min_args = 2,
       .max_args = -1,
       .function = push},
  };
  return kCommands;
}

}  // namespace caisson::cli
