// SPDX-License-Identifier: Apache-2.0
#include "build/image_parts.h"

#include "engine/port_ranges.h"
#include "spec/reference.h"
#include "wire/digest.h"

namespace caisson::build {

Result<std::string> image_name(const std::string& repo, const std::string& tag) {
  if (repo.empty()) return std::string();
  auto reference = TRY(spec::parse_reference(repo));
  if (!reference.digest.empty()) return fail(ErrorKind::kInvalid, "refusing to create a tag with a digest reference");
  if (!tag.empty()) {
    if (!spec::is_valid_tag(tag)) return fail(ErrorKind::kInvalid, "invalid tag format");
    reference.tag = tag;
  }
  if (reference.tag.empty()) reference.tag = "latest";
  return reference.familiar();
}

spec::ImageRunConfig run_config_of(const spec::ContainerConfig& config) {
  spec::ImageRunConfig out;
  out.user = config.user;
  out.working_dir = config.working_dir;
  out.stop_signal = config.stop_signal;
  out.exposed_ports = engine::expand_exposed(config.exposed_ports);
  out.env = config.env;
  out.cmd = config.cmd.items;
  out.entrypoint = config.entrypoint.items;
  out.on_build = config.on_build;
  out.shell = config.shell.items;
  out.volumes = config.volumes;
  out.labels = config.labels;
  if (config.healthcheck) {
    const auto& own = *config.healthcheck;
    out.healthcheck = spec::Healthcheck{.test = own.test,
                                        .interval = own.interval,
                                        .timeout = own.timeout,
                                        .start_period = own.start_period,
                                        .start_interval = own.start_interval,
                                        .retries = own.retries};
  }
  out.stop_timeout = config.stop_timeout;
  return out;
}

Result<> add_text(image::ImageStore& images, const std::string& text) {
  StringSource source(text);
  return images.add_blob(digest::sha256(text), source);
}

}  // namespace caisson::build
