// SPDX-License-Identifier: Apache-2.0
// The Container family of the API.
#include <fcntl.h>

#include <chrono>
#include <map>

#include "api/client_quirks.h"
#include "api/log_routes.h"
#include "api/router.h"
#include "api/streams.h"
#include "api/version_shapes.h"
#include "base/clock.h"
#include "base/text.h"
#include "engine/container_filter.h"
#include "engine/engine.h"
#include "engine/inspect.h"
#include "engine/links.h"
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
  auto linked_as = engine::link_names(containers, context.engine.containers());
  std::string out = "[";
  size_t count = 0;
  std::map<std::pair<std::string, std::string>, std::string> image_names;
  int64_t now = now_ns();
  for (const auto& container : containers) {
    auto record = container->snapshot();
    if (!all && !record->running()) continue;
    if (!filter->matches(*record)) continue;
    if (limit && *limit > 0 && count >= static_cast<size_t>(*limit)) break;
    auto [image_name, is_new] = image_names.try_emplace({record->image_name, record->image_id});
    if (is_new) image_name->second = current_image_name(context, *record);
    if (count++ > 0) out += ',';
    if (!with_size && !linked_as.contains(record->id)) {
      engine::append_summary(out, *container, record, image_name->second, now);
      continue;
    }
    auto summary = engine::summarise_container(*record, image_name->second, now);
    for (auto [at, end] = linked_as.equal_range(record->id); at != end; ++at) summary.names.push_back(at->second);
    if (with_size) {
      if (auto size = sizes(context, *record)) {
        summary.size_rw = size->rw;
        summary.size_root_fs = size->root_fs;
      }
    }
    out += json::encode(summary);
  }
  call.reply_with(200, json::Raw{out + "]"}, Shape::kContainerSummary);
}

void create_container(Context& context, Call& call) {
  auto config = call.body<spec::ContainerConfig>();
  if (!config) return;
  if (trim(call.request().body) == "null")
    return call.reply_error(400, "Config cannot be empty in order to create a container");
  auto extras = json::decode<spec::CreateExtras>(call.request().body);
  if (!extras) return call.reply_error(400, "invalid JSON: " + extras.error().message);
  std::vector<std::string> warnings;
  auto shaped = shape_create(call.version, context.engine.cgroups().v2, *config, *extras, warnings);
  if (!shaped) return call.reply_error(shaped.error());
  if (call.version >= 41) extras->platform = call.query().get("platform").substr(0, 128);
  // It is gone since 1.42; later clients mean nothing by it.
  if (call.version >= 42) extras->host_config.kernel_memory = 0;
  const auto& options = context.engine.options();
  choose_log_driver(call.request().headers.find("user-agent").value_or(""), options.log_driver, options.log_options,
                    extras->host_config);
  auto created = context.engine.create(call.query().get("name"), std::move(*config), std::move(*extras));
  if (!created) return call.reply_error(created.error());
  warnings.insert(warnings.begin(), created->warnings.begin(), created->warnings.end());
  call.reply_with(201, spec::CreateResponse{created->id, warnings});
}

void inspect_one(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  auto record = container->snapshot();
  auto out = engine::inspect_container(*record, context.engine.paths(), context.engine.execs().ids_of(record->id));
  out.host_config.links = engine::shown_links(*record, context.engine.containers());
  if (context.engine.options().storage_driver == "vfs") {
    out.driver = out.graph_driver.name = "vfs";
    out.graph_driver.data.clear();
  }
  if (call.query().flag("size")) {
    if (auto size = sizes(context, *record)) {
      out.size_rw = size->rw;
      out.size_root_fs = size->root_fs;
    }
  }
  call.reply_with(200, out, Shape::kContainerInspect);
}

void start(Context& context, Call& call) {
  // DOCKER-QUIRK: a little something is let pass, "null" above all.
  if (call.request().body.size() > 7 || call.request().headers.find("transfer-encoding"))
    return call.reply_error(400,
                            "starting container with non-empty request body was deprecated since API v1.22 and removed "
                            "in v1.24");
  auto container = find(context, call);
  if (!container) return;
  // As Docker without --experimental. To start it afresh instead would lose what the user meant to go on with.
  if (!call.query().get("checkpoint").empty())
    return call.reply_error(400, "this engine cannot start a container from a checkpoint");
  call.reply(context.engine.lifecycle().start(container));
}

// Of stop and restart; older clients sent it in vain.
std::string wanted_signal(const Call& call) { return call.version >= 42 ? call.query().get("signal") : ""; }

void stop(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  bool good;
  auto timeout = call.number("t", good);
  if (good) call.reply(context.engine.lifecycle().stop(container, timeout, wanted_signal(call)));
}

void restart(Context& context, Call& call) {
  auto container = find(context, call);
  if (!container) return;
  bool good;
  auto timeout = call.number("t", good);
  if (good) call.reply(context.engine.lifecycle().restart(container, timeout, wanted_signal(call)));
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
  if (call.query().flag("link")) return call.reply(context.engine.remove_link(call.argument()));
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
  http::Headers headers;
  headers.add("Content-Type", "application/json");
  if (call.version < 30) {
    uint64_t waiter =
        container->add_waiter(condition, [exchange = call.exchange, headers](const engine::WaitOutcome& outcome) {
          exchange->reply(200, headers, json::encode(spec::WaitResponse{outcome.exit_code, std::nullopt}) + "\n");
        });
    return call.exchange->on_closed([container, waiter] { container->remove_waiter(waiter); });
  }
  bool may_tell_errors = call.version >= 34;
  // The head goes out at once: clients start the container only when they know they will be told.
  auto stream = call.exchange->start_stream(200, headers);
  uint64_t waiter = container->add_waiter(condition, [stream, may_tell_errors](const engine::WaitOutcome& outcome) {
    // DOCKER-QUIRK: nothing at all is what older clients take for an error.
    if (!outcome.error.empty() && !may_tell_errors) return stream->end();
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
    await_peer_has_read(client->socket.get());
    if (reader) {
      auto sent = send_log(client->socket.get(), *reader, LogShape{!tty});
      if (!sent) return;
      options.log_after = *sent;
    }
    if (!stream) return;
  }
  // The container may end at any moment, after which its monitor takes nobody: what it wrote last is in the log, too.
  UniqueFd kept(client && reader ? fcntl(client->socket.get(), F_DUPFD_CLOEXEC, 3) : -1);
  auto attached = context.engine.lifecycle().attach(container, options, [&]() -> Result<monitor::Attachment> {
    handed = true;
    if (client) return std::move(*client);
    return hijack(call, tty);
  });
  if (!attached && kept) return send_rest_of_log(*container, kept.get(), *reader, LogShape{!tty});
  // After the hand-over there is no answer to give an error in; the client sees its stream end.
  if (!attached && !handed) call.reply_error(attached.error());
}

constexpr Route kRoutes[] = {
    {"GET", "/containers/json", list_containers},
    {"POST", "/containers/create", create_container},
    {"GET", "/containers/{*}/json", inspect_one, false, true},
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
    {"DELETE", "/containers/{*}", remove},
};

}  // namespace

std::span<const Route> container_routes() { return kRoutes; }

}  // namespace caisson::api
