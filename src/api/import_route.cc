// SPDX-License-Identifier: Apache-2.0
// POST /images/create with fromSrc: `docker import` of what the client sends or of what a URL gives.
#include "api/import_route.h"

#include <atomic>

#include "api/progress_answer.h"
#include "base/text.h"
#include "build/import.h"
#include "image/fetch_url.h"
#include "image/packed_stream.h"
#include "image/pull_progress.h"

namespace caisson::api {

namespace {

Result<std::string> import_from(Context& context, const std::string& source, const build::ImportRequest& request,
                                ProgressAnswer& answer) {
  std::string fetch_program = context.engine.options().program_dir + "/caisson-fetch";
  if (source == "-") {
    auto tar = TRY(image::open_stream(answer.connection(), fetch_program));
    return build::import_image(context.engine, request, *tar);
  }
  auto download = TRY(image::open_url(source, fetch_program));
  answer.line(image::status_line("Downloading from " + source));
  image::Progress out = [&](const std::string& line) { answer.line(line); };
  image::ProgressSink sink(out);
  image::CountingSource counted(*download, sink, "Importing");
  auto tar = TRY(image::open_stream(counted, fetch_program));
  return build::import_image(context.engine, request, *tar);
}

}  // namespace

void import_image(Context& context, Call& call) {
  const auto& query = call.query();
  build::ImportRequest request;
  request.repo = query.get("repo");
  request.tag = query.get("tag");
  request.message = query.get("message");
  std::string source = query.get("fromSrc");
  if (request.message.empty()) request.message = "Imported from " + source;
  if (call.version >= 32) request.platform = query.get("platform");
  for (const auto& text : query.all("changes"))
    for (auto& line : split(text, '\n'))
      if (!trim(line).empty()) request.changes.emplace_back(trim(line));
  if (auto checked = build::check_import(request); !checked) return call.reply_error(checked.error());
  // DOCKER-QUIRK: what has no scheme is taken for http.
  if (source != "-" && source.find("://") == source.npos) source = "http://" + source;
  ProgressAnswer answer(call.exchange->take_over());
  auto id = import_from(context, source, request, answer);
  if (id) answer.line(image::status_line(*id));
  answer.finish(id ? Result<>() : std::unexpected(id.error()), false);
}

}  // namespace caisson::api
