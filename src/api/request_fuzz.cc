// SPDX-License-Identifier: Apache-2.0
// What a client sends beyond the HTTP layer: bodies of create, update and exec, filters, queries. The first byte says
// which. Everything must be taken or refused, and what was taken must be written as something that is taken again.
#include <cstdlib>

#include "api/streams.h"
#include "api/version_shapes.h"
#include "engine/container_filter.h"
#include "engine/create_rules.h"
#include "engine/events.h"
#include "engine/prune.h"
#include "engine/record.h"
#include "engine/update.h"
#include "wire/http.h"

using namespace caisson;

namespace {

const json::Limits kLimits{.max_element_bytes = 4 << 20};

template <class T>
Result<T> decode_twice(std::string_view text) {
  T value{};
  if (auto read = json::decode_into(text, value, kLimits); !read) return std::unexpected(std::move(read).error());
  std::string once = json::encode(value);
  T again{};
  // Names that differ in case alone are one member, and the last one wins: once is enough to settle that.
  if (!json::decode_into(once, again) || json::encode(again) != once) abort();
  return value;
}

void create(std::string_view text) {
  auto config = decode_twice<spec::ContainerConfig>(text);
  auto extras = decode_twice<spec::CreateExtras>(text);
  if (!config || !extras) return;
  for (int version : {24, 39, 41, 43, 47, 51}) {
    auto mine = *config;
    auto more = *extras;
    std::vector<std::string> warnings;
    if (!api::shape_create(version, version % 2 == 0, mine, more, warnings)) continue;
    engine::HostFacts facts;
    facts.cpus = 2;
    if (!engine::merge_image_config(mine, {})) continue;
    (void)engine::normalise_host_config(more.host_config, mine, facts, warnings).has_value();
  }
}

void update(std::string_view text) {
  auto change = decode_twice<spec::HostConfig>(text);
  if (!change) return;
  spec::HostConfig host;
  engine::HostFacts facts;
  facts.cpus = 2;
  (void)engine::merge_update(host, *change, facts).has_value();
}

void exec(std::string_view text) {
  if (auto config = decode_twice<spec::ExecConfig>(text)) (void)api::parse_detach_keys(config->detach_keys).has_value();
  (void)decode_twice<spec::ExecStartConfig>(text).has_value();
}

void filters(const std::string& text) {
  engine::ContainerRecord record;
  record.id = "0123456789ab";
  record.name = "box";
  record.config.labels["key"] = "value";
  if (auto filter = engine::ContainerFilter::parse(text)) (void)filter->matches(record);
  if (auto filter = engine::PruneFilter::parse(text, 1'700'000'000'000'000'000)) (void)filter->matches(record);
  if (auto filter = engine::EventFilter::parse(text)) {
    (void)filter->matches({"container", "exec_start: sh", "0123456789ab", {{"image", "a:b"}, {"name", "box"}}, 1});
    (void)filter->matches({"image", "tag", "sha256:1", {{"name", "host:5000/a"}}, 1});
  }
}

void query(std::string_view text) {
  auto parsed = http::Query::parse(text);
  std::string once = parsed.encode();
  if (http::Query::parse(once).encode() != once) abort();
  (void)parsed.flag("all");
  for (const char* name : {"since", "until", "t", "detachKeys", "signal"}) {
    std::string value = parsed.get(name);
    (void)api::parse_time(value).has_value();
    (void)api::parse_detach_keys(value).has_value();
    (void)engine::parse_signal(value).has_value();
  }
}

void shapes(const std::string& text) {
  if (!json::indent(text, " ")) return;
  for (auto shape : {api::Shape::kInfo, api::Shape::kImageInspect, api::Shape::kImageSummary,
                     api::Shape::kContainerInspect, api::Shape::kContainerSummary, api::Shape::kDiskUsage})
    for (int version : {24, 40, 44, 51})
      if (!json::indent(api::shape_answer(shape, version, text), " ")) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  if (size == 0) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'c': create(text); break;
    case 'u': update(text); break;
    case 'e': exec(text); break;
    case 'f': filters(text); break;
    case 'q': query(text); break;
    case 's': shapes(text); break;
    default: break;
  }
  return 0;
}
