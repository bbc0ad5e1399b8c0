// SPDX-License-Identifier: Apache-2.0
// GET /containers/{id}/attach/ws.
#include <fcntl.h>
#include <sys/socket.h>

#include "api/log_routes.h"
#include "api/router.h"
#include "api/streams.h"
#include "api/websocket_bridge.h"
#include "engine/engine.h"
#include "engine/start_facts.h"
#include "logs/container_log.h"
#include "sys/files.h"

namespace caisson::api {

namespace {

// Answers the handshake and sets the bridge up; the container's end of it.
Result<UniqueFd> open_client(Context& context, const Call& call, const std::string& head, BridgeEnds ends) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return fail_errno("socketpair");
  UniqueFd theirs(pair[1]);
  ends.container.reset(pair[0]);
  auto connection = call.exchange->take_over();
  TRY_CTX(sys::write_all(connection->fd(), head), "answering the handshake");
  auto raw = connection->release();
  ends.client = std::move(raw.fd);
  ends.leftover = std::move(raw.leftover);
  start_bridge(context.loop, std::move(ends));
  return theirs;
}

void attach(Context& context, Call& call) {
  auto container = find_container(context, call);
  if (!container) return;
  const auto& query = call.query();
  auto keys = parse_detach_keys(query.get("detachKeys"));
  if (!keys) return call.reply_error(keys.error());
  auto head = websocket::accept(call.request().headers);
  if (!head) return call.reply_error(head.error());
  monitor::AttachOptions options;
  bool all = call.version < 42;  // DOCKER-QUIRK: the choice was documented before it was heeded
  options.want_stdin = all || query.flag("stdin");
  options.want_stdout = all || query.flag("stdout");
  options.want_stderr = all || query.flag("stderr");
  options.detach_keys = *keys;
  auto record = container->snapshot();
  BridgeEnds ends;
  ends.framed = !record->config.tty;
  ends.want_stdin = options.want_stdin && record->config.open_stdin && query.flag("stream");
  // DOCKER-QUIRK: clients before 1.28 were sent text frames.
  if (call.version < 28) ends.opcode = websocket::Opcode::kText;
  std::unique_ptr<logs::LogReader> reader;
  if (query.flag("logs")) {
    logs::ReadOptions wanted;
    wanted.want_stdout = options.want_stdout;
    wanted.want_stderr = options.want_stderr;
    auto config = engine::log_config_of(*record, context.engine.paths());
    if (!config) return call.reply_error(config.error());
    auto opened = logs::LogReader::open(*config, wanted);
    if (!opened) return call.reply_error(opened.error());
    reader = std::move(*opened);
  }
  UniqueFd socket;
  bool handed = false;
  auto open = [&]() -> Result<UniqueFd> {
    handed = true;
    return open_client(context, call, *head, std::move(ends));
  };
  if (reader) {
    auto opened = open();
    if (!opened) return;
    socket = std::move(*opened);
    auto sent = send_log(socket.get(), *reader, LogShape{!record->config.tty});
    if (!sent) return;
    options.log_after = *sent;
  }
  if (!query.flag("stream")) {
    if (!handed) [[maybe_unused]]
      auto closed = open();
    return;
  }
  UniqueFd kept(socket ? fcntl(socket.get(), F_DUPFD_CLOEXEC, 3) : -1);
  auto attached = context.engine.lifecycle().attach(container, options, [&]() -> Result<monitor::Attachment> {
    monitor::Attachment attachment;
    attachment.socket = socket ? std::move(socket) : TRY(open());
    return attachment;
  });
  if (!attached && kept) return send_rest_of_log(*container, kept.get(), *reader, LogShape{!record->config.tty});
  if (!attached && !handed) call.reply_error(attached.error());
}

constexpr Route kRoutes[] = {
    {"GET", "/containers/{}/attach/ws", attach},
};

}  // namespace

std::span<const Route> websocket_routes() { return kRoutes; }

}  // namespace caisson::api
