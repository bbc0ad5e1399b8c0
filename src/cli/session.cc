// SPDX-License-Identifier: Apache-2.0
#include "cli/session.h"

#include <signal.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/client_config.h"
#include "cli/detach_keys.h"

namespace caisson::cli {

Result<std::string> detach_keys_of(App& app, std::string_view flag) {
  std::string text(flag);
  if (text.empty()) text = client_config(app.options).at("detachKeys").text();
  return parse_detach_keys(text);
}

Result<> check_tty(bool attach_stdin, bool tty) {
  if (attach_stdin && tty && !sys::is_terminal(0)) return fail(ErrorKind::kInvalid, "the input device is not a TTY");
  return {};
}

int start_error_code(std::string_view message) {
  auto has = [&](std::string_view text) { return message.find(text) != message.npos; };
  if (has("executable file not found") || has("no such file or directory")) return 127;
  if (has("permission denied") || has("is a directory")) return 126;
  return 125;
}

Session::Session(App& app, SessionOptions options) : app_(app), options_(std::move(options)) {}

Result<> Session::attach() {
  PumpOptions pump{.tty = options_.tty,
                   .send_stdin = options_.attach_stdin,
                   .want_stdout = options_.attach_stdout,
                   .want_stderr = options_.attach_stderr,
                   .stdin_once_done = !options_.attach_stdout && !options_.attach_stderr};
  if (options_.tty && options_.attach_stdin) pump.detach_keys = TRY(detach_keys_of(app_, options_.detach_keys));
  // With a terminal the keys reach the container as bytes, signals are for ourselves.
  if (options_.sig_proxy && !options_.tty) pump.on_signal = [this](int signal) { forward(signal); };
  if (options_.tty) pump.on_resize = [this](sys::TerminalSize size) { resize(size); };
  pump_.emplace(app_, std::move(pump));
  if (!options_.attach_stdin && !options_.attach_stdout && !options_.attach_stderr) return pump_->prepare();
  http::Query query;
  if (!options_.detach_keys.empty()) query.add("detachKeys", options_.detach_keys);
  if (options_.attach_stderr) query.add("stderr", "1");
  if (options_.attach_stdin) query.add("stdin", "1");
  if (options_.attach_stdout) query.add("stdout", "1");
  query.add("stream", "1");
  http::Headers headers;
  headers.add("Content-Type", "text/plain");
  headers.add("Connection", "Upgrade");
  headers.add("Upgrade", "tcp");
  std::string path = "/containers/" + segment(options_.container) + "/attach";
  Engine::Stream stream = TRY(app_.engine().open({.method = "POST", .path = path, .query = query, .headers = headers}));
  connection_.emplace(stream.client->hijack());
  if (!connection_->fd) return fail(ErrorKind::kUnsupported, "this connection cannot be attached to");
  return pump_->prepare();
}

Result<> Session::watch_exit(std::string_view condition) {
  http::Query query;
  if (!condition.empty()) query.add("condition", std::string(condition));
  std::string path = "/containers/" + segment(options_.container) + "/wait";
  wait_ = TRY(app_.engine().open({.method = "POST", .path = path, .query = query}));
  return {};
}

Result<PumpEnd> Session::pump() {
  if (!connection_) return PumpEnd::kClosed;
  if (options_.tty && sys::is_terminal(1)) resize(sys::terminal_size(1));
  auto result = pump_->run(std::move(*connection_));
  pump_->restore_terminal();
  connection_.reset();
  if (!result) return std::unexpected(result.error());
  if (result->end == PumpEnd::kTerminated) die_of(result->signal);
  return result->end;
}

void Session::abandon() {
  // The engine closes the stream of a container that did not start; what it still sends is for the user.
  if (connection_) {
    pump_->restore_terminal();
    PumpOptions quiet{
        .tty = options_.tty, .want_stdout = options_.attach_stdout, .want_stderr = options_.attach_stderr};
    pump_.reset();
    Pump rest(app_, std::move(quiet));
    (void)rest.run(std::move(*connection_));
    connection_.reset();
  }
  pump_.reset();
}

Result<int> Session::exit_code() {
  std::string body;
  char buffer[4096];
  while (wait_.client) {
    // Signals that arrive while the exit is awaited still go to the container.
    if (pump_ && !wait_.client->has_pending() && !pump_->wait_readable(wait_.client->fd())) die_of(pump_->ended_by());
    auto n = wait_.client->read(buffer);
    if (!n) return with_context(n.error(), "waiting for the container");
    if (*n == 0) break;
    body.append(buffer, *n);
    if (body.size() > (1 << 20)) return fail(ErrorKind::kExhausted, "waiting for the container: answer too long");
  }
  JsonValue value = TRY_CTX(JsonValue::parse(body), "waiting for the container");
  if (const std::string& message = value.at("Error", "Message").text(); !message.empty()) {
    app_.complain("Error waiting for container: " + message);
    return 125;
  }
  return static_cast<int>(value.at("StatusCode").as_int());
}

void Session::resize(sys::TerminalSize size) {
  if (size.rows == 0) return;
  http::Query query;
  query.add("h", std::to_string(size.rows));
  query.add("w", std::to_string(size.columns));
  // A container that has just ended cannot be resized; nothing is lost, ignoring.
  (void)app_.engine().post("/containers/" + segment(options_.container) + "/resize", query);
}

void Session::forward(int signal) {
  const char* name = sys::signal_name(signal);
  if (!*name) return;
  http::Query query;
  query.add("signal", name);
  auto sent = app_.engine().post("/containers/" + segment(options_.container) + "/kill", query);
  // Docker's client is as quiet about a container that is gone.
  if (!sent && app_.options.debug) app_.complain("Error sending signal: " + sent.error().message);
}

}  // namespace caisson::cli
