// SPDX-License-Identifier: Apache-2.0
// pull, push, import, load, save.
#include <sys/stat.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/image_platform.h"
#include "cli/progress.h"
#include "cli/pull.h"
#include "spec/reference.h"
#include "sys/files.h"
#include "sys/terminal.h"

namespace caisson::cli {

namespace {

Result<int> pull(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  bool quiet = flags.on("quiet"), all = flags.on("all-tags");
  auto reference = spec::parse_reference(call.args[0]);
  if (!reference) return std::unexpected(reference.error());
  bool bare = reference->tag.empty() && reference->digest.empty();
  if (all && !bare) return fail(ErrorKind::kInvalid, "tag can't be used with --all-tags/-a");
  if (bare && !all) {
    reference->tag = "latest";
    if (!quiet) app.out.line("Using default tag: latest");
    app.out.flush();
  }
  std::string platform(flags.text("platform"));
  if (platform.empty()) platform = app.env("DOCKER_DEFAULT_PLATFORM").value_or("");
  TRY(pull_image(app, {.image = call.args[0], .platform = platform, .quiet = quiet, .all_tags = all}, app.out));
  app.out.line(reference->full());
  return 0;
}

Result<int> push(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  bool quiet = flags.on("quiet"), all = flags.on("all-tags");
  auto reference = spec::parse_reference(call.args[0]);
  if (!reference) return std::unexpected(reference.error());
  if (all && !reference->tag.empty()) return fail(ErrorKind::kInvalid, "tag can't be used with --all-tags/-a");
  if (!all && reference->tag.empty() && reference->digest.empty()) {
    reference->tag = "latest";
    if (!quiet) app.out.line("Using default tag: latest");
    app.out.flush();
  }
  if (!reference->digest.empty()) return fail(ErrorKind::kInvalid, "cannot push a digest reference");
  http::Query query;
  if (!all) query.add("tag", reference->tag);
  if (flags.changed("platform")) query.add("platform", TRY(platform_json(flags.text("platform"))));
  http::Headers headers;
  std::string auth = registry_auth(app, reference->domain);
  headers.add("X-Registry-Auth", auth.empty() ? "e30=" : auth);  // {}: the header must be there
  std::string path = "/images/" + name_path(reference->name()) + "/push";
  Engine::Stream stream = TRY(app.engine().open({.method = "POST", .path = path, .query = query, .headers = headers}));
  TRY(show_progress(stream, app.out, quiet));
  if (quiet) app.out.line(reference->familiar());
  return 0;
}

// What a command reads: a file, or standard input. A file's size is known, which spares the chunks.
struct Input {
  UniqueFd file;
  int fd = 0;
  int64_t size = -1;
};

Result<Input> open_input(const std::string& path) {
  Input out;
  if (!path.empty()) {
    auto opened = sys::open_file(path, O_RDONLY);
    if (!opened)
      return fail(opened.error().kind, "open %s: %s", path.c_str(), to_lower(errno_text(opened.error().err)).c_str());
    out.file = std::move(*opened);
    out.fd = out.file.get();
  }
  struct stat st {};
  if (fstat(out.fd, &st) == 0 && S_ISREG(st.st_mode) && lseek(out.fd, 0, SEEK_CUR) == 0) out.size = st.st_size;
  return out;
}

Result<int> import(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  const std::string& source = call.args[0];
  std::string name = call.args.size() > 1 ? call.args[1] : "";
  if (!name.empty()) TRY(spec::parse_reference(name));
  bool is_url = source.starts_with("http://") || source.starts_with("https://");
  Input input = TRY(open_input(is_url || source == "-" ? "" : source));
  http::Query query;
  query.add("fromSrc", is_url ? source : "-");
  query.add("repo", name);
  query.add("message", std::string(flags.text("message")));
  if (flags.changed("platform")) query.add("platform", std::string(flags.text("platform")));
  for (const std::string& change : flags.list("change")) query.add("changes", change);
  http::Headers headers;
  headers.add("Content-Type", "application/x-tar");
  sys::FdSource bytes(input.fd);
  Engine::Stream stream = TRY(app.engine().open({.method = "POST",
                                                 .path = "/images/create",
                                                 .query = query,
                                                 .headers = headers,
                                                 .body = {},
                                                 .body_stream = is_url ? nullptr : &bytes,
                                                 .body_size = is_url ? -1 : input.size}));
  TRY(show_progress(stream, app.out, false));
  return 0;
}

Result<int> load(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  std::string path(flags.text("input"));
  if (path.empty() && sys::is_terminal(0))
    return fail(ErrorKind::kInvalid, "requested load from stdin, but stdin is empty");
  Input input = TRY(open_input(path));
  http::Query query;
  bool quiet = flags.on("quiet") || !app.out.is_terminal();
  if (flags.changed("platform")) query.add("platform", TRY(platform_json(flags.text("platform"))));
  query.add("quiet", quiet ? "1" : "0");
  http::Headers headers;
  headers.add("Content-Type", "application/x-tar");
  sys::FdSource source(input.fd);
  Engine::Stream stream = TRY(app.engine().open({.method = "POST",
                                                 .path = "/images/load",
                                                 .query = query,
                                                 .headers = headers,
                                                 .body = {},
                                                 .body_stream = &source,
                                                 .body_size = input.size}));
  TRY(show_progress(stream, app.out, false));
  return 0;
}

Result<> copy_body(Engine::Stream& stream, ByteSink& sink) {
  std::string buffer(256 << 10, '\0');
  while (true) {
    size_t n = TRY(stream.client->read(buffer));
    if (n == 0) return {};
    TRY(sink.write({buffer.data(), n}));
  }
}

Result<int> save(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  std::string output(flags.text("output"));
  if (output.empty() && app.out.is_terminal())
    return fail(ErrorKind::kInvalid, "cowardly refusing to save to a terminal. Use the -o flag or redirect");
  http::Query query;
  for (const std::string& name : call.args) query.add("names", name);
  if (flags.changed("platform")) query.add("platform", TRY(platform_json(flags.text("platform"))));
  std::string temporary;
  UniqueFd file;
  if (!output.empty()) {
    size_t slash = output.rfind('/');
    std::string directory = slash == output.npos ? "." : output.substr(0, slash + 1);
    if (!sys::path_exists(directory))
      return fail(ErrorKind::kNotFound, "failed to save image: invalid output path: stat %s: no such file or directory",
                  std::string(directory, 0, directory.size() - 1).c_str());
    temporary = directory + (slash == output.npos ? "/" : "") + ".tmp-" +
                output.substr(slash == output.npos ? 0 : slash + 1) + random_hex(8);
  }
  Engine::Stream stream = TRY(app.engine().open({.path = "/images/get", .query = query}));
  if (output.empty()) {
    TRY(copy_body(stream, app.out));
    return 0;
  }
  // The archive appears whole or not at all.
  auto write = [&]() -> Result<> {
    file = TRY(sys::open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600));
    sys::FdSink sink(file.get());
    TRY(copy_body(stream, sink));
    if (::rename(temporary.c_str(), output.c_str()) < 0) return fail_errno("rename '%s'", output.c_str());
    return {};
  };
  auto written = write();
  if (!written) {
    unlink(temporary.c_str());
    return std::unexpected(written.error());
  }
  return 0;
}

constexpr FlagSpec kPullFlags[] = {
    {.name = "all-tags", .shorthand = 'a', .usage = "Download all tagged images in the repository"},
    {.name = "disable-content-trust", .usage = "Skip image verification (default true)", .initial = "true"},
    {.name = "platform",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Set platform if server is multi-platform capable"},
    {.name = "quiet", .shorthand = 'q', .usage = "Suppress verbose output"},
};
constexpr FlagSpec kPushFlags[] = {
    {.name = "all-tags", .shorthand = 'a', .usage = "Push all tags of an image to the repository"},
    {.name = "disable-content-trust", .usage = "Skip image signing (default true)", .initial = "true"},
    {.name = "platform",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Push a platform-specific manifest as a single-platform image to the registry.\n"
              "Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n"
              "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"},
    {.name = "quiet", .shorthand = 'q', .usage = "Suppress verbose output"},
};
constexpr FlagSpec kLoadFlags[] = {
    {.name = "input",
     .shorthand = 'i',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Read from tar archive file, instead of STDIN"},
    {.name = "platform",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"},
    {.name = "quiet", .shorthand = 'q', .usage = "Suppress the load output"},
};
constexpr FlagSpec kImportFlags[] = {
    {.name = "change",
     .shorthand = 'c',
     .kind = FlagKind::kList,
     .type_name = "list",
     .usage = "Apply Dockerfile instruction to the created image"},
    {.name = "message",
     .shorthand = 'm',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Set commit message for imported image"},
    {.name = "platform",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Set platform if server is multi-platform capable"},
};

constexpr FlagSpec kSaveFlags[] = {
    {.name = "output",
     .shorthand = 'o',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Write to a file, instead of STDOUT"},
    {.name = "platform",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"},
};

}  // namespace

std::span<const Command> transfer_commands() {
  static constexpr Command kCommands[] = {
      {.names = "image pull;pull",
       .usage = "[OPTIONS] NAME[:TAG|@DIGEST]",
       .summary = "Download an image from a registry",
       .flags = kPullFlags,
       .min_args = 1,
       .max_args = 1,
       .function = pull},
      {.names = "image push;push",
       .usage = "[OPTIONS] NAME[:TAG]",
       .summary = "Upload an image to a registry",
       .flags = kPushFlags,
       .min_args = 1,
       .max_args = 1,
       .function = push},
      {.names = "image load;load",
       .usage = "[OPTIONS]",
       .summary = "Load an image from a tar archive or STDIN",
       .flags = kLoadFlags,
       .function = load},
      {.names = "image import;import",
       .usage = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
       .summary = "Import the contents from a tarball to create a filesystem image",
       .flags = kImportFlags,
       .min_args = 1,
       .max_args = 2,
       .function = import},
      {.names = "image save;save",
       .usage = "[OPTIONS] IMAGE [IMAGE...]",
       .summary = "Save one or more images to a tar archive (streamed to STDOUT by default)",
       .flags = kSaveFlags,
       .min_args = 1,
       .max_args = -1,
       .function = save},
  };
  return kCommands;
}

}  // namespace caisson::cli
