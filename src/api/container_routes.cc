// SPDX-License-Identifier: Apache-2.0
// The Container family of the API.
#include <chrono>

#include "api/log_routes.h"
#include "api/router.h"
#include "api/streams.h"
#include "base/clock.h"
#include "base/text.h"
#include "engine/container_filter.h"
#include "engine/engine.h"
#include "engine/inspect.h"
#include "engine/start_facts.h"
#include "engine/top.h"
#include "sys/files.h"

namespace caisson::api {

namespace {

using engine::ContainerPtr;

// Finds the container of the route or sends the error.
ContainerPtr find(Context& context, Call& call) {
  auto found = context.engine.containers().find(call.argument());
  if (found) return *found;
  call.reply_error(found.error());
  return nullptr;
}

std::string current_image_name(Context& context, const engine::ContainerRecord& record) {
  auto image = context.engine.images().find(record.image_name);
  if (image && image->id == record.image_id) return record.image_name;
  return record.image_id;
}

std::optional<engine::SizeInfo> sizes(Context& context, const engine::ContainerRecord& record) {
  auto upper = sys::tree_size(context.engine.paths().upper(record.id));
  if (!upper) return std::nullopt;
  engine::SizeInfo out;
  out.rw = static_cast<int64_t>(upper->bytes);
  auto image = context.engine.images().find(record.image_id);
  out.root_fs = out.rw + (image ? image->size : 0);
  return out;
}

void list_containers(Context& context, Call& call) {
  bool good;
  auto limit = call.number("limit", good);
  if (!good) return;
  auto filter = engine::ContainerFilter::parse(call.query().get("filters"));
  if (!filter) return call.reply_error(filter.error());
  if (auto resolved = filter->resolve(context.engine.containers(), context.engine.images()); !resolved)
    return call.reply_error(resolved.error());
  bool all = call.query().flag("all") || (limit && *limit > 0) || filter->wants_stopped();
  bool with_size = call.query().flag("size");
  auto containers = context.engine.containers().list();
  std::vector<spec::ContainerSummary> out;
  for (const auto& container : containers) {
    auto record = container->snapshot();
    if (!all && !record->running()) continue;
    if (!filter->matches(*record)) continue;
    if (limit && *limit > 0 && out.size() >= static_cast<size_t>(*limit)) break;
    auto summary = engine::summarise_container(*record, current_image_name(context, *record), now_ns());
    if (with_size) {
      if (auto size = sizes(context, *record)) {
        summary.size_rw = size->rw;
        summary.size_root_fs = size->root_fs;
      }
    }
    out.push_back(std::move(summary));
  }
  call.reply_with(200, out);
}

void create_container(Context& context, Call& call) {
  auto config = call.body<spec::ContainerConfig>();
  if (!config) return;
  auto extras = json::decode<spec::CreateExtras>(call.request().body);
  if (!extras) return call.reply_error(400, extras.error().message);
  std::string platform = call.query().get("platform");
  if (!platform.empty() && !platform.starts_with("linux"))
    return call.reply_error(404, "no match for platform in manifest: " + platform.substr(0, 64));
  auto created = context.engine.create(call.query().get("name"), std::move(*config), std::move(*extras));
  if (!created) return call.reply_error(created.error());
  call.reply_with(201, spec::CreateResponse{created->id, created->warnings});
}

void inspect_one(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  auto record = container->snapshot();
  auto out = engine::inspect_container(*record, context.engine.paths(), context.engine.execs().ids_of(record->id));
  if (call.query().flag("size")) {
    if (auto size = sizes(context, *record)) {
      out.size_rw = size->rw;
      out.size_root_fs = size->root_fs;
    }
  }
  call.reply_with(200, out);
}

void start(Context& context, Call& call) {
  if (auto container = find(context, call)) call.reply(context.engine.lifecycle().start(container));
}

void stop(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  bool good;
  auto timeout = call.number("t", good);
  if (good) call.reply(context.engine.lifecycle().stop(container, timeout, call.query().get("signal")));
}

void restart(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  bool good;
  auto timeout = call.number("t", good);
  if (good) call.reply(context.engine.lifecycle().restart(container, timeout, call.query().get("signal")));
}

void kill(Context& context, Call& call) {
  if (auto container = find(context, call))
    call.reply(context.engine.lifecycle().kill(container, call.query().get("signal")));
}

void pause(Context& context, Call& call) {
  if (auto container = find(context, call)) call.reply(context.engine.lifecycle().pause(container));
}

void unpause(Context& context, Call& call) {
  if (auto container = find(context, call)) call.reply(context.engine.lifecycle().unpause(container));
}

void rename(Context& context, Call& call) {
  if (auto container = find(context, call))
    call.reply(context.engine.lifecycle().rename(container, call.query().get("name")));
}

void remove(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  if (call.query().flag("link")) return call.reply_error(501, "removing links is not supported by this release");
  call.reply(context.engine.lifecycle().remove(container, {call.query().flag("force"), call.query().flag("v")}));
}

void resize(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  auto size = window_size(call);
  if (size) call.reply(context.engine.lifecycle().resize(container, size->rows, size->columns), 200);
}

void top(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  auto record = container->settled_snapshot();
  if (!record->running()) return call.reply_error(409, "container " + record->id + " is not running");
  auto pids = sys::cgroup_pids(sys::cgroup_paths(context.engine.cgroups(), record->cgroup_path));
  if (!pids) return call.reply_error(pids.error());
  auto table = engine::top(*pids, call.query().get("ps_args"));
  if (!table) return call.reply_error(table.error());
  context.engine.events().publish_container(*record, "top");
  call.reply_with(200, *table);
}

void wait(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  std::string text = call.version >= 30 ? call.query().get("condition") : "";
  engine::WaitCondition condition;
  if (text.empty() || text == "not-running")
    condition = engine::WaitCondition::kNotRunning;
  else if (text == "next-exit")
    condition = engine::WaitCondition::kNextExit;
  else if (text == "removed")
    condition = engine::WaitCondition::kRemoved;
  else
    return call.reply_error(400, "invalid condition: " + quoted(text));
  // The head goes out at once: clients start the container only when they know they will be told.
  http::Headers headers;
  headers.add("Content-Type", "application/json");
  auto stream = call.exchange->start_stream(200, headers);
  uint64_t waiter = container->add_waiter(condition, [stream](const engine::WaitOutcome& outcome) {
    spec::WaitResponse response;
    response.status_code = outcome.exit_code;
    if (!outcome.error.empty()) response.error = spec::WaitError{outcome.error};
    stream->write(json::encode(response) + "\n");
    stream->end();
  });
  stream->on_closed([container, waiter] { container->remove_waiter(waiter); });
}

void attach(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  const auto& query = call.query();
  monitor::AttachOptions options;
  options.want_stdin = query.flag("stdin");
  options.want_stdout = query.flag("stdout");
  options.want_stderr = query.flag("stderr");
  auto keys = parse_detach_keys(query.get("detachKeys"));
  if (!keys) return call.reply_error(keys.error());
  options.detach_keys = *keys;
  auto record = container->snapshot();
  bool tty = record->config.tty, handed = false, stream = query.flag("stream");
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
  std::optional<monitor::Attachment> client;
  if (reader || !stream) {
    // Before the container is asked for anything: nothing of it may wait for a client that reads slowly.
    auto taken = hijack(call, tty);
    if (!taken) return;
    client = std::move(*taken);
    handed = true;
    if (reader) {
      auto sent = send_log(client->socket.get(), *reader, LogShape{!tty});
      if (!sent) return;
      options.log_after = *sent;
    }
    if (!stream) return;
  }
  auto attached = context.engine.lifecycle().attach(container, options, [&]() -> Result<monitor::Attachment> {
    handed = true;
    if (client) return std::move(*client);
    return hijack(call, tty);
  });
  if (!attached && attached.error().kind == ErrorKind::kNotModified && client) {
    // It ended while its log was being sent: the rest is in the log, too.
    (void)send_log(client->socket.get(), *reader, LogShape{!tty});
    return;
  }
  // After the hand-over there is no answer to give an error in; the client sees its stream end.
  if (!attached && !handed) call.reply_error(attached.error());
}

constexpr Route kRoutes[] = {
    {"GET", "/containers/json", list_containers},
    {"POST", "/containers/create", create_container},
    {"GET", "/containers/{}/json", inspect_one, false, true},
    {"GET", "/containers/{}/top", top},
    {"GET", "/containers/{}/logs", logs_of},
    {"DELETE", "/containers/{}/logs", clear_logs_of},
    {"POST", "/containers/{}/start", start},
    {"POST", "/containers/{}/stop", stop},
    {"POST", "/containers/{}/restart", restart},
    {"POST", "/containers/{}/kill", kill},
    {"POST", "/containers/{}/pause", pause},
    {"POST", "/containers/{}/unpause", unpause},
    {"POST", "/containers/{}/rename", rename},
    {"POST", "/containers/{}/resize", resize},
    {"POST", "/containers/{}/attach", attach},
    {"POST", "/containers/{}/wait", wait, false, true},
    {"DELETE", "/containers/{}", remove},
};

}  // namespace

std::span<const Route> container_routes() { return kRoutes; }

}  // namespace caisson::api
