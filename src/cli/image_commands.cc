// SPDX-License-Identifier: Apache-2.0
// images, rmi, tag, history.
#include "base/clock.h"
#include "base/text.h"
#include "cli/client_config.h"
#include "cli/command.h"
#include "cli/container_checks.h"
#include "cli/containers.h"
#include "cli/image_platform.h"
#include "cli/image_rows.h"
#include "cli/image_tree.h"
#include "cli/listing.h"
#include "cli/units.h"
#include "spec/reference.h"

namespace caisson::cli {

namespace {

Result<int> list_images(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  std::string format = list_format(app, flags, "imagesFormat");
  if (flags.on("tree")) {
    for (const char* other : {"quiet", "no-trunc", "digests", "format"})
      if (flags.changed(other)) return fail(ErrorKind::kInvalid, "--%s is not yet supported with --tree", other);
  }
  if (flags.on("quiet") && (format.empty() || format == "table")) format = "{{.ID}}";
  std::string table = flags.on("digests")
                          ? "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
                          : "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
  Listing listing = TRY(Listing::make(format, table, image_columns(), "*formatter.imageContext"));
  std::vector<std::string> filters = flags.list("filter");
  if (!call.args.empty()) filters.push_back("reference=" + call.args[0]);
  http::Query query;
  if (flags.on("all")) query.add("all", "1");
  if (std::string text = filters_json(filters); !text.empty()) query.add("filters", text);
  if (flags.on("tree")) query.add("manifests", "1");
  auto response = TRY(app.engine().get("/images/json", query));
  JsonValue images = TRY(JsonValue::parse(response.body));
  if (flags.on("tree")) {
    print_image_tree(images, app.out);
    return 0;
  }
  ImageRowOptions options{.truncate = !flags.on("no-trunc"),
                          .digests = flags.on("digests") || listing.mentions("Digest")};
  for (const JsonValue& image : images.items())
    for (const JsonValue& row : image_rows(image, options)) TRY(listing.add(row, image.at("Labels")));
  listing.print(app.out);
  return 0;
}

Result<int> remove_images(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  bool force = flags.on("force"), gone = false;
  http::Query query;
  if (force) query.add("force", "1");
  if (flags.on("no-prune")) query.add("noprune", "1");
  for (const std::string& platform : flags.list("platform")) query.add("platforms", TRY(platform_json(platform)));
  std::string errors;
  for (const std::string& name : call.args) {
    auto response = app.engine().call("DELETE", "/images/" + name_path(name), query);
    if (!response) {
      if (response.error().kind != ErrorKind::kNotFound) gone = true;
      errors += (errors.empty() ? "" : "\n") + response.error().message;
      if (!force || response.error().kind != ErrorKind::kNotFound) gone = true;
      continue;
    }
    JsonValue items = TRY(JsonValue::parse(response->body));
    for (const JsonValue& item : items.items())
      app.out.line(item.at("Deleted").is_string() ? "Deleted: " + item.at("Deleted").text()
                                                  : "Untagged: " + item.at("Untagged").text());
  }
  if (errors.empty()) return 0;
  app.complain(errors);
  return gone ? 1 : 0;
}

Result<int> tag_image(App& app, const Invocation& call) {
  auto target = spec::parse_reference_with_default_tag(call.args[1]);
  if (!target)
    return with_context(target.error(),
                        "Error parsing reference: " + go_quote(call.args[1]) + " is not a valid repository/tag");
  if (!target->digest.empty()) return fail(ErrorKind::kInvalid, "refusing to create a tag with a digest reference");
  http::Query query;
  query.add("repo", target->name());
  query.add("tag", target->tag);
  TRY(app.engine().post("/images/" + name_path(call.args[0]) + "/tag", query));
  return 0;
}

Result<int> history(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  static constexpr Column kColumns[] = {
      {"ID", "IMAGE"},  {"CreatedSince", "CREATED"}, {"CreatedAt", "CREATED AT"}, {"CreatedBy", "CREATED BY"},
      {"Size", "SIZE"}, {"Comment", "COMMENT"}};
  bool human = flags.on("human"), truncate = !flags.on("no-trunc");
  std::string format(flags.text("format"));
  if (flags.on("quiet") && (format.empty() || format == "table")) format = "{{.ID}}";
  std::string table = human ? "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
                            : "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
  Listing listing = TRY(Listing::make(format, table, kColumns, "*formatter.historyContext"));
  http::Query query;
  if (flags.changed("platform")) query.add("platform", TRY(platform_json(flags.text("platform"))));
  auto response = TRY(app.engine().get("/images/" + name_path(call.args[0]) + "/history", query));
  JsonValue layers = TRY(JsonValue::parse(response.body));
  for (const JsonValue& layer : layers.items()) {
    int64_t created = layer.at("Created").as_int(), size = layer.at("Size").as_int();
    std::string by = layer.at("CreatedBy").text(), id = layer.at("Id").text();
    for (char& c : by)
      if (c == '\t') c = ' ';
    JsonValue row = JsonValue::object();
    row.set("Comment", layer.at("Comment").text());
    std::string time = format_rfc3339(created * 1000000000);
    row.set("CreatedAt", time);
    row.set("CreatedBy", truncate ? ellipsis(by, 45) : by);
    row.set("CreatedSince", human ? (created == 0 ? "N/A" : age_text(created)) : time);
    row.set("ID", truncate ? (id == "<missing>" ? id : short_id(id)) : id);
    row.set("Size", human ? human_size(static_cast<double>(size), 3) : std::to_string(size));
    TRY(listing.add(row));
  }
  listing.print(app.out);
  return 0;
}

constexpr FlagSpec kImagesFlags[] = {
    {.name = "all", .shorthand = 'a', .usage = "Show all images (default hides intermediate images)"},
    {.name = "digests", .usage = "Show digests"},
    {.name = "filter",
     .shorthand = 'f',
     .kind = FlagKind::kList,
     .type_name = "filter",
     .usage = "Filter output based on conditions provided",
     .check = check_filter},
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "no-trunc", .usage = "Don't truncate output"},
    {.name = "quiet", .shorthand = 'q', .usage = "Only show image IDs"},
    {.name = "tree", .usage = "List multi-platform images as a tree (EXPERIMENTAL)"},
};
constexpr FlagSpec kRemoveFlags[] = {
    {.name = "force", .shorthand = 'f', .usage = "Force removal of the image"},
    {.name = "no-prune", .usage = "Do not delete untagged parents"},
    {.name = "platform",
     .kind = FlagKind::kList,
     .type_name = "strings",
     .usage = "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"},
};
constexpr FlagSpec kHistoryFlags[] = {
    {.name = "format", .kind = FlagKind::kString, .type_name = "string", .usage = kFormatTableUsage},
    {.name = "human",
     .shorthand = 'H',
     .usage = "Print sizes and dates in human readable format (default true)",
     .initial = "true"},
    {.name = "no-trunc", .usage = "Don't truncate output"},
    {.name = "platform",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"},
    {.name = "quiet", .shorthand = 'q', .usage = "Only show image IDs"},
};

}  // namespace

std::span<const Command> image_commands() {
  static constexpr Command kCommands[] = {
      {.names = "image ls;image list;images",
       .usage = "[OPTIONS] [REPOSITORY[:TAG]]",
       .summary = "List images",
       .flags = kImagesFlags,
       .max_args = 1,
       .function = list_images},
      {.names = "image rm;image remove;rmi",
       .usage = "[OPTIONS] IMAGE [IMAGE...]",
       .summary = "Remove one or more images",
       .flags = kRemoveFlags,
       .min_args = 1,
       .max_args = -1,
       .function = remove_images},
      {.names = "image tag;tag",
       .usage = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
       .summary = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
       .min_args = 2,
       .max_args = 2,
       .function = tag_image},
      {.names = "image history;history",
       .usage = "[OPTIONS] IMAGE",
       .summary = "Show the history of an image",
       .flags = kHistoryFlags,
       .min_args = 1,
       .max_args = 1,
       .function = history},
  };
  return kCommands;
}

}  // namespace caisson::cli
