// SPDX-License-Identifier: Apache-2.0
// cp, diff, export.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/copy_paths.h"
#include "cli/json_value.h"
#include "cli/units.h"
#include "sys/files.h"
#include "sys/terminal.h"
#include "wire/base64.h"
#include "wire/tar_extract.h"
#include "wire/tar_pack.h"

namespace caisson::cli {

namespace {

// Bytes that went through, for the last line.
class CountingSource : public ByteSource {
 public:
  explicit CountingSource(ByteSource& inner) : inner_(inner) {}
  Result<size_t> read(std::span<char> buffer) override {
    size_t size = TRY(inner_.read(buffer));
    count += size;
    return size;
  }
  uint64_t count = 0;

 private:
  ByteSource& inner_;
};

class BodySource : public ByteSource {
 public:
  explicit BodySource(http::Client& client) : client_(client) {}
  Result<size_t> read(std::span<char> buffer) override { return client_.read(buffer); }

 private:
  http::Client& client_;
};

struct ContainerPath {
  std::string container, path;  // container empty: a local path
};

ContainerPath split_argument(const std::string& argument) {
  auto parts = split_once(argument, ':');
  if (argument.starts_with('/') || !parts || parts->first.starts_with('.')) return {"", argument};
  return {parts->first, parts->second};
}

std::string archive_path(const std::string& container) { return "/containers/" + segment(container) + "/archive"; }

struct RemoteStat {
  uint32_t mode = 0;
  std::string link_target;
  bool is_directory() const { return mode & (1u << 31); }
  bool is_link() const { return mode & (1u << 27); }
};

Result<RemoteStat> stat_of(const http::Headers& headers) {
  auto header = headers.find("X-Docker-Container-Path-Stat");
  auto text = header ? base64_decode_url(*header) : std::nullopt;
  if (!text) return fail(ErrorKind::kInvalid, "unable to get resource stat from response");
  JsonValue value = TRY(JsonValue::parse(*text));
  return RemoteStat{static_cast<uint32_t>(value.at("mode").as_int()), value.at("linkTarget").text()};
}

Result<RemoteStat> stat_remote(App& app, const std::string& container, const std::string& path) {
  http::Query query;
  query.add("path", path);
  auto response = TRY(app.engine().call("HEAD", archive_path(container), query));
  return stat_of(response.headers);
}

void tell_success(App& app, bool quiet, uint64_t bytes, const std::string& target) {
  if (!quiet) app.complain("Successfully copied " + human_size(static_cast<double>(bytes), 3) + " to " + target);
}

Result<int> copy_from(App& app, const Invocation& call, ContainerPath from, const std::string& to, bool quiet) {
  std::string target = to;
  if (to != "-") {
    target = TRY(absolute_local_path(to));
    TRY(check_output_path(target));
  }
  std::string rebase;
  if (call.flags.on("follow-link")) {
    auto stat = stat_remote(app, from.container, from.path);
    if (stat && stat->is_link()) from.path = rebase_name(from.path, stat->link_target, rebase);
  }
  http::Query query;
  query.add("path", from.path);
  Engine::Stream stream = TRY(app.engine().open({.path = archive_path(from.container), .query = query}));
  BodySource body(*stream.client);
  if (to == "-") {
    std::string piece(256 << 10, '\0');
    while (size_t size = TRY(body.read(piece))) TRY(app.out.write({piece.data(), size}));
    return 0;
  }
  auto stat = TRY(stat_of(stream.head.headers));
  LocalPath destination = TRY(local_destination(target));
  CopyPlan plan = TRY(plan_copy(
      {.path = from.path, .exists = true, .is_directory = stat.is_directory(), .rebase = rebase}, destination));
  auto root = sys::open_file(plan.directory, O_RDONLY | O_DIRECTORY);
  if (!root) return fail(root.error().kind, "%s", root.error().message.c_str());
  tar::ExtractOptions options;
  options.keep_kinds = true;
  options.owner.emplace(geteuid(), getegid());
  options.rename = plan.rename;
  CountingSource counted(body);
  TRY(tar::extract_archive(counted, root->get(), "/", options));
  tell_success(app, quiet, counted.count, target);
  return 0;
}

Result<int> copy_to(App& app, const Invocation& call, const std::string& from, const ContainerPath& to, bool quiet) {
  LocalPath destination{.path = to.path};
  auto stat = stat_remote(app, to.container, to.path);
  if (stat && stat->is_link()) {
    destination.path = stat->link_target;
    stat = stat_remote(app, to.container, destination.path);
  }
  std::string shown = to.container + ":" + to.path;
  if (stat) {
    if (stat->mode & (1u << 26 | 1u << 24 | 1u << 25))
      return fail(ErrorKind::kInvalid, "destination \"%s\" must be a directory or a regular file", shown.c_str());
    destination.exists = true;
    destination.is_directory = stat->is_directory();
  }
  http::Query query;
  UniqueFd root;
  std::unique_ptr<ByteSource> content;
  std::string directory = destination.path;
  if (from == "-") {
    if (!destination.is_directory)
      return fail(ErrorKind::kInvalid, "destination \"%s\" must be a directory", shown.c_str());
    content = std::make_unique<sys::FdSource>(0);
  } else {
    LocalPath source = TRY(local_source(TRY(absolute_local_path(from)), call.flags.on("follow-link")));
    CopyPlan plan = TRY(plan_copy(source, destination));
    directory = plan.directory;
    root = TRY(sys::open_file("/", O_RDONLY | O_DIRECTORY));
    std::string name = source.rebase.empty() ? path_base(source.path) : source.rebase;
    if (plan.rename) name = plan.rename->second;
    content = TRY(tar::TreeSource::open(root.get(), source.path, name));
  }
  query.add("path", directory);
  query.add("noOverwriteDirNonDir", "true");
  if (call.flags.on("archive")) query.add("copyUIDGID", "true");
  http::Headers headers;
  headers.add("Content-Type", "application/x-tar");
  CountingSource counted(*content);
  TRY(app.engine().open({.method = "PUT",
                         .path = archive_path(to.container),
                         .query = query,
                         .headers = headers,
                         .body = {},
                         .body_stream = &counted}));
  tell_success(app, quiet, counted.count, to.container + ":" + destination.path);
  return 0;
}

Result<int> copy(App& app, const Invocation& call) {
  if (call.args[0].empty()) return fail(ErrorKind::kInvalid, "source can not be empty");
  if (call.args[1].empty()) return fail(ErrorKind::kInvalid, "destination can not be empty");
  bool quiet = call.flags.changed("quiet") ? call.flags.on("quiet") : !app.out.is_terminal();
  ContainerPath from = split_argument(call.args[0]), to = split_argument(call.args[1]);
  if (!from.container.empty() && !to.container.empty())
    return fail(ErrorKind::kInvalid, "copying between containers is not supported");
  if (!from.container.empty()) return copy_from(app, call, from, to.path, quiet);
  if (!to.container.empty()) return copy_to(app, call, from.path, to, quiet);
  return fail(ErrorKind::kInvalid, "must specify at least one container source");
}

Result<int> diff(App& app, const Invocation& call) {
  if (call.args[0].empty()) return fail(ErrorKind::kInvalid, "Container name cannot be empty");
  auto response = TRY(app.engine().get("/containers/" + segment(call.args[0]) + "/changes"));
  JsonValue changes = TRY(JsonValue::parse(response.body));
  for (const JsonValue& change : changes.items()) {
    static constexpr char kLetters[] = {'C', 'A', 'D'};
    int64_t kind = change.at("Kind").as_int();
    app.out.line(std::string(1, kind >= 0 && kind <= 2 ? kLetters[kind] : '?') + " " + change.at("Path").text());
  }
  return 0;
}

Result<int> export_container(App& app, const Invocation& call) {
  std::string output(call.flags.text("output"));
  if (output.empty() && app.out.is_terminal())
    return fail(ErrorKind::kInvalid, "cowardly refusing to save to a terminal. Use the -o flag or redirect");
  if (!output.empty()) {
    auto checked = check_output_path(output);
    if (!checked) return with_context(checked.error(), "failed to export container");
  }
  Engine::Stream stream = TRY(app.engine().open({.path = "/containers/" + segment(call.args[0]) + "/export"}));
  BodySource body(*stream.client);
  std::string piece(256 << 10, '\0');
  if (output.empty()) {
    while (size_t size = TRY(body.read(piece))) TRY(app.out.write({piece.data(), size}));
    return 0;
  }
  // The archive appears whole or not at all.
  std::string temporary = output + ".tmp-" + random_hex(8);
  auto write = [&]() -> Result<> {
    auto file = TRY(sys::open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600));
    while (size_t size = TRY(body.read(piece))) TRY(sys::write_all(file.get(), {piece.data(), size}));
    if (::rename(temporary.c_str(), output.c_str()) < 0) return fail_errno("rename '%s'", output.c_str());
    return {};
  };
  auto written = write();
  if (written) return 0;
  unlink(temporary.c_str());
  return std::unexpected(written.error());
}

constexpr FlagSpec kCopyFlags[] = {
    {.name = "archive", .shorthand = 'a', .usage = "Archive mode (copy all uid/gid information)"},
    {.name = "follow-link", .shorthand = 'L', .usage = "Always follow symbol link in SRC_PATH"},
    {.name = "quiet",
     .shorthand = 'q',
     .usage = "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is "
              "attached"},
};
constexpr FlagSpec kExportFlags[] = {
    {.name = "output",
     .shorthand = 'o',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Write to a file, instead of STDOUT"},
};

}  // namespace

std::span<const Command> file_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container cp;cp",
       .usage = "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tcaisson cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
       .summary = "Copy files/folders between a container and the local filesystem",
       .flags = kCopyFlags,
       .min_args = 2,
       .max_args = 2,
       .function = copy,
       .details = "Copy files/folders between a container and the local filesystem\n\n"
                  "Use '-' as the source to read a tar archive from stdin\n"
                  "and extract it to a directory destination in a container.\n"
                  "Use '-' as the destination to stream a tar archive of a\n"
                  "container source to stdout."},
      {.names = "container diff;diff",
       .usage = "CONTAINER",
       .summary = "Inspect changes to files or directories on a container's filesystem",
       .min_args = 1,
       .max_args = 1,
       .function = diff},
      {.names = "container export;export",
       .usage = "[OPTIONS] CONTAINER",
       .summary = "Export a container's filesystem as a tar archive",
       .flags = kExportFlags,
       .min_args = 1,
       .max_args = 1,
       .function = export_container},
  };
  return kCommands;
}

}  // namespace caisson::cli
