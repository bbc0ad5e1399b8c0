// SPDX-License-Identifier: Apache-2.0
// run and create.
#include <unistd.h>

#include "base/text.h"
#include "cli/api_socket.h"
#include "cli/client_config.h"
#include "cli/command.h"
#include "cli/container_flags.h"
#include "cli/notify_forward.h"
#include "cli/pull.h"
#include "cli/session.h"
#include "spec/reference.h"
#include "sys/files.h"

namespace caisson::cli {

namespace {

// Only the container's id is written to it, and only when there is a container.
class CidFile {
 public:
  static Result<CidFile> create(const std::string& path) {
    CidFile file;
    if (path.empty()) return file;
    if (sys::path_exists(path))
      return fail(ErrorKind::kExists,
                  "container ID file found, make sure the other container isn't running or delete %s", path.c_str());
    auto opened = sys::open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (!opened)
      return fail(opened.error().kind, "failed to create the container ID file: open %s: %s", path.c_str(),
                  to_lower(errno_text(opened.error().err)).c_str());
    file.fd_ = std::move(*opened);
    file.path_ = path;
    return file;
  }
  CidFile(CidFile&&) = default;
  ~CidFile() {
    if (fd_ && !written_) unlink(path_.c_str());
  }
  Result<> write(const std::string& id) {
    if (!fd_) return {};
    TRY(sys::write_all(fd_.get(), id));
    written_ = true;
    return {};
  }

 private:
  CidFile() = default;
  UniqueFd fd_;
  std::string path_;
  bool written_ = false;
};

Result<JsonValue> create_request(App& app, const ContainerRequest& request) {
  http::Query query;
  if (!request.name.empty()) query.add("name", request.name);
  if (!request.platform.empty()) query.add("platform", request.platform);
  auto response = TRY(app.engine().post("/containers/create", query, request.body()));
  return JsonValue::parse(response.body);
}

void warn_of_risks(App& app, const JsonValue& host_config) {
  for (const JsonValue& server : host_config.at("Dns").items())
    if (server.text().starts_with("127.") || server.text() == "::1") {
      app.complain("WARNING: Localhost DNS (" + server.text() + ") may fail in containers.");
      return;
    }
}

Result<std::string> create_container(App& app, ContainerRequest& request) {
  warn_of_risks(app, request.host_config);
  add_proxies(app, request);
  CidFile cid_file = TRY(CidFile::create(request.cid_file));
  PullOptions pull{.image = request.image, .platform = request.platform, .quiet = request.quiet};
  std::string credentials;
  if (request.use_api_socket) credentials = TRY(add_api_socket(app, request));
  if (request.pull == "always") TRY(pull_image(app, pull, app.err));
  auto answer = create_request(app, request);
  bool missing = !answer && answer.error().kind == ErrorKind::kNotFound &&
                 (answer.error().message.find("No such image") != std::string::npos ||
                  answer.error().message.find("does not match the specified platform") != std::string::npos);
  if (missing && request.pull == "missing") {
    auto reference = spec::parse_reference_with_default_tag(request.image);
    if (!reference) return std::unexpected(answer.error());
    if (!request.quiet) app.complain("Unable to find image '" + reference->familiar() + "' locally");
    TRY(pull_image(app, pull, app.err));
    answer = create_request(app, request);
  }
  if (!answer) return std::unexpected(answer.error());
  for (const JsonValue& warning : answer->at("Warnings").items()) app.complain("WARNING: " + warning.text());
  const std::string& id = answer->at("Id").text();
  TRY(cid_file.write(id));
  TRY(send_credentials(app, id, credentials));
  return id;
}

Result<int> run(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  bool detach = flags.on("detach");
  if (detach && flags.changed("attach")) {
    app.complain("conflicting options: cannot specify both --attach and --detach");
    return 1;
  }
  ContainerRequest request = TRY(parse_container(flags, call.args, app.environment));
  if (!detach) {
    if (auto tty = check_tty(request.attach_stdin, request.tty); !tty) {
      app.complain(tty.error().message);
      return 1;
    }
  }
  if (request.tty) {
    sys::TerminalSize size = sys::terminal_size(1);
    JsonValue pair = JsonValue::array();
    pair.push(static_cast<int64_t>(size.rows));
    pair.push(static_cast<int64_t>(size.rows ? size.columns : 0));
    request.host_config.set("ConsoleSize", pair);
  }
  auto notify = TRY(NotifyForwarder::prepare(app, flags.text("sdnotify"), request));
  // From here on the exit code tells what was wrong with the command, as a shell's would.
  auto failed = [&](const Error& error) {
    app.complain(std::string(kProgram) + ": " + error.message + "\n\nRun '" + call.path +
                 " --help' for more information");
    return start_error_code(error.message);
  };
  auto created = create_container(app, request);
  if (!created) return failed(created.error());
  const std::string& id = *created;
  std::string start = "/containers/" + id + "/start";
  if (detach) {
    if (auto started = app.engine().post(start); !started) return failed(started.error());
    TRY(notify.started(app, id, true));
    app.out.line(id);
    return 0;
  }
  Session session(app, {.container = id,
                        .tty = request.tty,
                        .attach_stdin = request.attach_stdin,
                        .attach_stdout = request.attach_stdout,
                        .attach_stderr = request.attach_stderr,
                        .sig_proxy = flags.on("sig-proxy"),
                        .detach_keys = std::string(flags.text("detach-keys"))});
  TRY(session.attach());
  TRY(session.watch_exit(request.auto_remove ? "removed" : "next-exit"));
  if (auto started = app.engine().post(start); !started) {
    session.abandon();
    // --rm takes the container away; the id must not be found again afterwards.
    if (request.auto_remove) (void)session.exit_code();
    return failed(started.error());
  }
  TRY(notify.started(app, id, false));
  if (!request.attach_stdout && !request.attach_stderr) {
    app.out.line(id);
    app.out.flush();
  }
  if (TRY(session.pump()) == PumpEnd::kDetached) return 0;
  if (!request.attach_stdout && !request.attach_stderr) return 0;
  return session.exit_code();
}

Result<int> create(App& app, const Invocation& call) {
  ContainerRequest request = TRY(parse_container(call.flags, call.args, app.environment));
  app.out.line(TRY(create_container(app, request)));
  return 0;
}

constexpr FlagSpec kRunFlags[] = {
    {.name = "detach", .shorthand = 'd', .usage = "Run container in background and print container ID"},
    {.name = "detach-keys",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Override the key sequence for detaching a container"},
    {.name = "pull",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Pull image before running (\"always\", \"missing\", \"never\") (default \"missing\")",
     .initial = "missing"},
    {.name = "sdnotify",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Who tells systemd that the service is ready: \"container\", \"conmon\" (this program), \"ignore\"",
     .initial = "ignore"},
    {.name = "sig-proxy", .usage = "Proxy received signals to the process (default true)", .initial = "true"},
};
constexpr FlagSpec kCreateFlags[] = {
    {.name = "pull",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Pull image before creating (\"always\", \"|missing\", \"never\") (default \"missing\")",
     .initial = "missing"},
};

}  // namespace

std::span<const Command> run_commands() {
  static const Command kCommands[] = {
      {.names = "container run;run",
       .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
       .summary = "Create and run a new container from an image",
       .flags = container_flags(),
       .more_flags = kRunFlags,
       .min_args = 1,
       .max_args = -1,
       .interspersed = false,
       .run_style = true,
       .function = run},
      {.names = "container create;create",
       .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
       .summary = "Create a new container",
       .flags = container_flags(),
       .more_flags = kCreateFlags,
       .min_args = 1,
       .max_args = -1,
       .interspersed = false,
       .run_style = true,
       .function = create},
  };
  return kCommands;
}

}  // namespace caisson::cli
