// SPDX-License-Identifier: Apache-2.0
// The files of a container: changes, archive (docker cp), export.
#include "api/router.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/changes.h"
#include "engine/container_path.h"
#include "engine/engine.h"
#include "image/packed_stream.h"
#include "wire/base64.h"
#include "wire/tar_extract.h"
#include "wire/tar_pack.h"

namespace caisson::api {

namespace {

using engine::ContainerPtr;

void changes(Context& context, Call& call) {
  auto container = find_container(context, call);
  if (!container) return;
  auto layers = context.engine.roots().open_layers(*container->snapshot());
  if (!layers) return call.reply_error(500, layers.error().message);
  auto found = engine::find_changes(*layers);
  if (!found) return call.reply_error(500, found.error().message);
  // DOCKER-QUIRK: nothing changed is null.
  if (found->empty()) return call.reply_json(200, "null\n");
  call.reply_with(200, *found);
}

// The query's path as it was sent and cleaned; nullopt: an error was sent.
struct AskedPath {
  std::string text, absolute;
};
std::optional<AskedPath> asked_path(Call& call) {
  AskedPath out;
  out.text = call.query().get("path");
  if (out.text.empty()) {
    call.reply_error(400, "bad parameter: path cannot be empty");
    return std::nullopt;
  }
  if (out.text.size() > 4095 || out.text.find('\0') != std::string::npos) {
    call.reply_error(400, "bad parameter: path is longer than 4095 bytes or holds a zero byte");
    return std::nullopt;
  }
  out.absolute = engine::absolute_path(out.text);
  return out;
}

// Docker's answers: what is not there is 404 with the path, all else is what it is or 500.
std::pair<int, std::string> explain(const Error& error, const std::string& path, const std::string& container) {
  if (error.err == ENOENT || (error.err == ENOTDIR && error.kind == ErrorKind::kNotFound))
    return {404, "Could not find the file " + path + " in container " + container};
  if (error.kind == ErrorKind::kNotFound || error.kind == ErrorKind::kExists) return {500, error.message};
  if (error.err == ENOTDIR) return {400, "not a directory: " + path};
  if (error.err == ENAMETOOLONG || error.err == ELOOP) return {400, error.message};
  return {status_of(error.kind), error.message};
}

std::string stat_header(const engine::PathStat& stat) { return base64_encode(json::encode(stat)); }

void archive_info(Context& context, Call& call) {
  auto path = asked_path(call);
  if (!path) return;
  auto container = find_container(context, call);
  if (!container) return;
  auto answer_error = [&](const Error& error) {
    auto [status, message] = explain(error, path->text, call.argument());
    call.reply_error(status, message);
  };
  auto view = context.engine.roots().open(container);
  if (!view) return call.reply_error(view.error());
  auto stat = engine::path_stat(view->fd(), path->absolute);
  if (!stat) return answer_error(stat.error());
  http::Headers headers;
  headers.add("X-Docker-Container-Path-Stat", stat_header(*stat));
  call.exchange->reply(200, headers, "");
}

void archive_get(Context& context, Call& call) {
  auto path = asked_path(call);
  if (!path) return;
  auto container = find_container(context, call);
  if (!container) return;
  auto view = context.engine.roots().open(container);
  if (!view) return call.reply_error(view.error());
  auto stat = engine::path_stat(view->fd(), path->absolute);
  if (!stat) {
    auto [status, message] = explain(stat.error(), path->text, call.argument());
    return call.reply_error(status, message);
  }
  auto tar = tar::TreeSource::open(view->fd(), path->absolute, engine::base_name(path->absolute));
  if (!tar) return call.reply_error(500, tar.error().message);
  http::Headers headers;
  headers.add("Content-Type", "application/x-tar");
  headers.add("X-Docker-Container-Path-Stat", stat_header(*stat));
  auto connection = call.exchange->take_over();
  if (!connection->begin_response(200, headers)) return;
  context.engine.events().publish_container(*container->snapshot(), "archive-path");
  auto written = (*tar)->copy_to(*connection);
  // Without the closing chunk the client knows that the archive is not whole.
  if (!written)
    return log_info("archive of container %s: %s", container->id().c_str(), written.error().message.c_str());
  [[maybe_unused]] auto finished = connection->finish();
}

void answer(http::TakenConnection& connection, int status, const std::string& message) {
  http::Headers headers;
  std::string body = message.empty() ? "" : error_body(message);
  if (!body.empty()) headers.add("Content-Type", "application/json");
  headers.add("Content-Length", std::to_string(body.size()));
  // The client may be gone by now; there is nobody to tell.
  if (connection.begin_response(status, headers) && connection.write(body)) [[maybe_unused]]
    auto done = connection.finish();
}

Result<> extract(Context& context, const Call& call, const ContainerPtr& container, const AskedPath& path,
                 ByteSource& body) {
  auto view = TRY(context.engine.roots().open(container));
  tar::ExtractOptions options;
  options.keep_kinds = call.query().flag("noOverwriteDirNonDir");
  auto record = container->snapshot();
  if (call.query().flag("copyUIDGID") && !record->config.user.empty()) {
    options.owner = TRY(engine::ids_of_user(view.fd(), record->config.user));
  }
  std::string destination = TRY(engine::find_extraction_point(view.fd(), path.absolute));
  auto plain = TRY(image::open_stream(body, context.engine.options().program_dir + "/caisson-fetch"));
  TRY(tar::extract_archive(*plain, view.fd(), destination, options));
  context.engine.events().publish_container(*record, "extract-to-dir");
  return {};
}

void archive_put(Context& context, Call& call) {
  auto path = asked_path(call);
  if (!path) return;
  auto container = find_container(context, call);
  if (!container) return;
  auto connection = call.exchange->take_over();
  auto done = extract(context, call, container, *path, *connection);
  if (done) return answer(*connection, 200, "");
  auto [status, message] = explain(done.error(), path->text, call.argument());
  answer(*connection, status, message);
}

void export_all(Context& context, Call& call) {
  auto container = find_container(context, call);
  if (!container) return;
  auto view = context.engine.roots().open_bare(container);
  if (!view) return call.reply_error(view.error());
  auto tar = tar::TreeSource::open_mount(view->fd());
  if (!tar) return call.reply_error(500, tar.error().message);
  http::Headers headers;
  headers.add("Content-Type", "application/octet-stream");
  auto connection = call.exchange->take_over();
  if (!connection->begin_response(200, headers)) return;
  context.engine.events().publish_container(*container->snapshot(), "export");
  auto written = (*tar)->copy_to(*connection);
  if (!written) return log_info("export of container %s: %s", container->id().c_str(), written.error().message.c_str());
  [[maybe_unused]] auto finished = connection->finish();
}

constexpr Route kRoutes[] = {
    {"GET", "/containers/{}/changes", changes},           {"GET", "/containers/{}/export", export_all},
    {"HEAD", "/containers/{}/archive", archive_info},     {"GET", "/containers/{}/archive", archive_get},
    {"PUT", "/containers/{}/archive", archive_put, true},
};

}  // namespace

std::shared_ptr<engine::Container> find_container(Context& context, Call& call) {
  auto found = context.engine.containers().find(call.argument());
  if (found) return *found;
  call.reply_error(found.error());
  return nullptr;
}

std::span<const Route> file_routes() { return kRoutes; }

}  // namespace caisson::api
