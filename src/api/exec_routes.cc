// SPDX-License-Identifier: Apache-2.0
// The Exec family of the API.
#include <fcntl.h>

#include "api/client_quirks.h"
#include "api/log_follower.h"
#include "api/router.h"
#include "api/streams.h"
#include "base/log.h"
#include "engine/engine.h"
#include "sys/files.h"

namespace caisson::api {

namespace {

// False: the error was sent.
bool good_size(const Call& call, const std::optional<std::vector<int64_t>>& size) {
  if (!size) return true;
  for (int64_t value : *size)
    if (value < 0 || value > 65535) {
      call.reply_error(400, "invalid JSON: ConsoleSize: numbers from 0 to 65535 expected");
      return false;
    }
  return true;
}

void create(Context& context, Call& call) {
  auto container = context.engine.containers().find(call.argument());
  if (!container) return call.reply_error(container.error());
  auto config = call.body<spec::ExecConfig>(true);
  if (!config) return;
  if (call.version < 42) config->console_size.reset();
  if (!good_size(call, config->console_size)) return;
  auto keys = parse_detach_keys(config->detach_keys);
  if (!keys) return call.reply_error(keys.error());
  auto id = context.engine.execs().create(*container, std::move(*config));
  if (!id) return call.reply_error(id.error());
  call.reply_with(201, spec::IdResponse{*id});
}

// DOCKER-QUIRK: the request has been answered with 101 by then, so the reason goes into the stream.
void tell_failure(int socket, bool tty, const std::string& message) {
  std::string out;
  LogShape{!tty, false}.render({logs::StreamId::kStdout, 0, message + "\r\n"}, out);
  if (auto told = sys::write_all(socket, out); !told) log_debug("%s, ignoring", told.error().message.c_str());
}

void start(Context& context, Call& call) {
  auto options = call.body<spec::ExecStartConfig>(true);
  if (!options) return;
  auto config = context.engine.execs().config_of(call.argument());
  if (!config) return call.reply_error(config.error());
  if (!good_size(call, options->console_size)) return;
  if (call.version < 42 || !options->tty) options->console_size.reset();
  if (options->detach) return call.reply(context.engine.execs().start(call.argument(), *options, std::nullopt), 200);
  bool handed = false;
  UniqueFd client;
  auto started = context.engine.execs().start(call.argument(), *options, [&]() -> Result<monitor::Attachment> {
    handed = true;
    auto attachment = TRY(hijack(call, config->tty));
    await_peer_has_read(attachment.socket.get());
    attachment.options.detach_keys = parse_detach_keys(config->detach_keys).value_or("");
    client.reset(fcntl(attachment.socket.get(), F_DUPFD_CLOEXEC, 3));
    return attachment;
  });
  if (started) return;
  if (!handed) return call.reply_error(started.error());
  log_info("exec %s: %s", call.argument().substr(0, 12).c_str(), started.error().message.c_str());
  if (client) tell_failure(client.get(), config->tty, started.error().message);
}

void resize(Context& context, Call& call) {
  if (auto size = window_size(call))
    call.reply(context.engine.execs().resize(call.argument(), size->rows, size->columns), 200);
}

void inspect(Context& context, Call& call) {
  auto exec = context.engine.execs().inspect(call.argument());
  if (!exec) return call.reply_error(exec.error());
  call.reply_with(200, *exec);
}

constexpr Route kRoutes[] = {
    {"POST", "/containers/{}/exec", create},
    {"POST", "/exec/{}/start", start},
    {"POST", "/exec/{}/resize", resize},
    {"GET", "/exec/{}/json", inspect},
};

}  // namespace

std::span<const Route> exec_routes() { return kRoutes; }

}  // namespace caisson::api
