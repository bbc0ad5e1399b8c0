// SPDX-License-Identifier: Apache-2.0
#include "api/log_routes.h"

#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <future>

#include "api/streams.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/start_facts.h"

namespace caisson::api {

namespace {

constexpr size_t kBatch = 64 << 10;
constexpr int kStallMs = 30'000;
constexpr std::chrono::seconds kEndPatience(10);

Result<logs::ReadOptions> read_options(const http::Query& query) {
  logs::ReadOptions options;
  options.want_stdout = query.flag("stdout");
  options.want_stderr = query.flag("stderr");
  if (!options.want_stdout && !options.want_stderr)
    return fail(ErrorKind::kInvalid, "Bad parameters: you must choose at least one stream");
  options.since_ns = TRY(parse_time(query.get("since")));
  options.until_ns = TRY(parse_time(query.get("until")));
  std::string tail = query.get("tail");
  // DOCKER-QUIRK: anything that is no number means all.
  options.tail = parse_int(tail).value_or(-1);
  options.details = query.flag("details");
  return options;
}

engine::ContainerPtr find(Context& context, Call& call) {
  auto found = context.engine.containers().find(call.argument());
  if (found) return *found;
  call.reply_error(found.error());
  return nullptr;
}

// Entries until `batch` is worth sending; false at the end of the log.
bool fill(logs::LogReader& reader, const LogShape& shape, std::string& batch) {
  logs::LogEntry entry;
  while (batch.size() < kBatch) {
    auto more = reader.next(entry);
    if (!more || !*more) return false;
    shape.render(entry, batch);
  }
  return true;
}

Result<> send_bounded(int socket, std::string_view data) {
  while (!data.empty()) {
    ssize_t put = send(socket, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0 && errno != EAGAIN && errno != EINTR) return fail_errno("send");
    if (put > 0) data.remove_prefix(static_cast<size_t>(put));
    pollfd entry{socket, POLLOUT, 0};
    if (!data.empty() && poll(&entry, 1, kStallMs) == 0) return fail(ErrorKind::kTimeout, "the client does not read");
  }
  return {};
}

// The end of a run that is about to end; false when it goes on after all.
bool wait_for_end(engine::Container& container) {
  auto ended = std::make_shared<std::promise<void>>();
  auto future = ended->get_future();
  uint64_t waiter = container.add_waiter(engine::WaitCondition::kNotRunning,
                                         [ended](const engine::WaitOutcome&) { ended->set_value(); });
  if (future.wait_for(kEndPatience) == std::future_status::ready) return true;
  container.remove_waiter(waiter);
  return false;
}

}  // namespace

Result<logs::LogCursor> send_log(int socket, logs::LogReader& reader, const LogShape& shape) {
  for (bool more = true; more;) {
    std::string batch;
    more = fill(reader, shape, batch);
    TRY(send_bounded(socket, batch));
  }
  return reader.position();
}

void logs_of(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  auto options = read_options(call.query());
  if (!options) return call.reply_error(options.error());
  bool follow = call.query().flag("follow");
  auto record = follow ? container->settled_snapshot() : container->snapshot();
  auto config = engine::log_config_of(*record, context.engine.paths());
  if (!config) return call.reply_error(config.error());
  auto reader = logs::LogReader::open(*config, *options);
  if (!reader) return call.reply_error(reader.error());
  LogShape shape{!record->config.tty, call.query().flag("timestamps"), options->details};
  http::Headers headers;
  headers.add("Content-Type", stream_content_type(call, record->config.tty));
  // DOCKER-QUIRK: one that does not run is not followed, even if it was never started.
  bool over = options->until_ns != 0 && options->until_ns <= now_ns();
  if (follow && record->running() && !over) {
    auto stream = call.exchange->start_stream(200, headers);
    auto followed =
        context.follower.follow(stream, std::move(*reader), config->path, shape, container, options->until_ns);
    if (!followed) stream->end();
    return;
  }
  auto connection = call.exchange->take_over();
  if (!connection->begin_response(200, headers)) return;
  for (bool more = true; more;) {
    std::string batch;
    more = fill(**reader, shape, batch);
    if (!batch.empty() && !connection->write(batch)) return;
  }
  // The client may be gone by now; there is nobody to tell.
  [[maybe_unused]] auto finished = connection->finish();
}

void clear_logs_of(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  auto config = engine::log_config_of(*container->snapshot(), context.engine.paths());
  if (!config) return call.reply_error(config.error());
  call.reply(logs::clear_logs(*config));
}

void send_rest_of_log(engine::Container& container, int socket, logs::LogReader& reader, const LogShape& shape) {
  if (!wait_for_end(container)) return;
  if (auto sent = send_log(socket, reader, shape); !sent) log_debug("%s, ignoring", sent.error().message.c_str());
}

}  // namespace caisson::api
