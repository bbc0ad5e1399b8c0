// SPDX-License-Identifier: Apache-2.0
// commit.
#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/json_value.h"
#include "spec/reference.h"

namespace caisson::cli {

namespace {

constexpr FlagSpec kFlags[] = {
    {.name = "author",
     .shorthand = 'a',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"},
    {.name = "change",
     .shorthand = 'c',
     .kind = FlagKind::kList,
     .type_name = "list",
     .usage = "Apply Dockerfile instruction to the created image"},
    {.name = "message", .shorthand = 'm', .kind = FlagKind::kString, .type_name = "string", .usage = "Commit message"},
    {.name = "pause", .shorthand = 'p', .usage = "Pause container during commit", .initial = "true"},
};

Result<int> commit(App& app, const Invocation& call) {
  http::Query query;
  query.add("container", call.args[0]);
  if (call.args.size() > 1) {
    auto reference = TRY(spec::parse_reference(call.args[1]));
    if (!reference.digest.empty()) return fail(ErrorKind::kInvalid, "refusing to create a tag with a digest reference");
    query.add("repo", reference.familiar_name());
    query.add("tag", reference.tag.empty() ? "latest" : reference.tag);
  }
  query.add("author", std::string(call.flags.text("author")));
  query.add("comment", std::string(call.flags.text("message")));
  for (const std::string& change : call.flags.list("change")) query.add("changes", change);
  query.add("pause", call.flags.on("pause") ? "1" : "0");
  auto response = TRY(app.engine().post("/commit", query));
  app.out.line(TRY(JsonValue::parse(response.body)).at("Id").text());
  return 0;
}

}  // namespace

std::span<const Command> commit_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container commit;commit",
       .usage = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
       .summary = "Create a new image from a container's changes",
       .flags = kFlags,
       .min_args = 1,
       .max_args = 2,
       .function = commit},
  };
  return kCommands;
}

}  // namespace caisson::cli
