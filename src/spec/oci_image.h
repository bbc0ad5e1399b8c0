// SPDX-License-Identifier: Apache-2.0
// Data of the OCI image specification and of Docker's image formats (schema 2, docker-archive): config,
// manifest, index, descriptor. Only the fields that the engine reads or writes; a config blob is kept
// verbatim beside its struct, so unknown fields are never lost.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/json.h"

namespace caisson::spec {

inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayerTar = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayerTar = "application/vnd.docker.image.rootfs.diff.tar";
inline constexpr std::string_view kDockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
inline constexpr std::string_view kRefNameAnnotation = "org.opencontainers.image.ref.name";
inline constexpr std::string_view kContainerdNameAnnotation = "io.containerd.image.name";

struct Platform {
  std::string architecture, os, os_version, variant;
  std::vector<std::string> os_features;
};
CAISSON_JSON(Platform, CAISSON_FIELD("architecture", architecture), CAISSON_FIELD("os", os),
             CAISSON_FIELD_OMIT("os.version", os_version), CAISSON_FIELD_OMIT("os.features", os_features),
             CAISSON_FIELD_OMIT("variant", variant))

struct Descriptor {
  std::string media_type, digest;
  int64_t size = 0;
  std::vector<std::string> urls;
  std::map<std::string, std::string> annotations;
  std::string artifact_type;
  std::optional<Platform> platform;
};
CAISSON_JSON(Descriptor, CAISSON_FIELD("mediaType", media_type), CAISSON_FIELD("digest", digest),
             CAISSON_FIELD("size", size), CAISSON_FIELD_OMIT("urls", urls),
             CAISSON_FIELD_OMIT("annotations", annotations), CAISSON_FIELD_OMIT("artifactType", artifact_type),
             CAISSON_FIELD_OMIT("platform", platform))

// OCI image manifest and Docker's schema 2, which differ in media types only.
struct Manifest {
  int64_t schema_version = 2;
  std::string media_type, artifact_type;
  Descriptor config;
  std::vector<Descriptor> layers;
  std::optional<Descriptor> subject;
  std::map<std::string, std::string> annotations;
};
CAISSON_JSON(Manifest, CAISSON_FIELD("schemaVersion", schema_version), CAISSON_FIELD_OMIT("mediaType", media_type),
             CAISSON_FIELD_OMIT("artifactType", artifact_type), CAISSON_FIELD("config", config),
             CAISSON_FIELD("layers", layers), CAISSON_FIELD_OMIT("subject", subject),
             CAISSON_FIELD_OMIT("annotations", annotations))

// OCI index and Docker's manifest list.
struct Index {
  int64_t schema_version = 2;
  std::string media_type;
  std::vector<Descriptor> manifests;
  std::map<std::string, std::string> annotations;
};
CAISSON_JSON(Index, CAISSON_FIELD("schemaVersion", schema_version), CAISSON_FIELD_OMIT("mediaType", media_type),
             CAISSON_FIELD("manifests", manifests), CAISSON_FIELD_OMIT("annotations", annotations))

struct Healthcheck {
  std::vector<std::string> test;  // {"NONE"}, {"CMD", ...}, {"CMD-SHELL", line}
  int64_t interval = 0, timeout = 0, start_period = 0, start_interval = 0;  // nanoseconds; 0 inherits
  int64_t retries = 0;
};
CAISSON_JSON(Healthcheck, CAISSON_FIELD_OMIT("Test", test), CAISSON_FIELD_OMIT("Interval", interval),
             CAISSON_FIELD_OMIT("Timeout", timeout), CAISSON_FIELD_OMIT("StartPeriod", start_period),
             CAISSON_FIELD_OMIT("StartInterval", start_interval), CAISSON_FIELD_OMIT("Retries", retries))

// The "config" member of an image config: defaults for containers.
struct ImageRunConfig {
  std::string hostname, domainname, user, image, working_dir, stop_signal;
  std::map<std::string, json::Empty> exposed_ports;  // "80/tcp": {}
  std::vector<std::string> env, cmd, entrypoint, on_build, shell;
  std::map<std::string, json::Empty> volumes;  // "/data": {}
  std::map<std::string, std::string> labels;
  std::optional<Healthcheck> healthcheck;
  bool args_escaped = false;
  std::optional<int64_t> stop_timeout;
};
CAISSON_JSON(ImageRunConfig, CAISSON_FIELD_OMIT("Hostname", hostname), CAISSON_FIELD_OMIT("Domainname", domainname),
             CAISSON_FIELD_OMIT("User", user), CAISSON_FIELD_OMIT("ExposedPorts", exposed_ports),
             CAISSON_FIELD_OMIT("Env", env), CAISSON_FIELD_OMIT("Entrypoint", entrypoint),
             CAISSON_FIELD_OMIT("Cmd", cmd), CAISSON_FIELD_OMIT("Healthcheck", healthcheck),
             CAISSON_FIELD_OMIT("ArgsEscaped", args_escaped), CAISSON_FIELD_OMIT("Image", image),
             CAISSON_FIELD_OMIT("Volumes", volumes), CAISSON_FIELD_OMIT("WorkingDir", working_dir),
             CAISSON_FIELD_OMIT("OnBuild", on_build), CAISSON_FIELD_OMIT("Labels", labels),
             CAISSON_FIELD_OMIT("StopSignal", stop_signal), CAISSON_FIELD_OMIT("StopTimeout", stop_timeout),
             CAISSON_FIELD_OMIT("Shell", shell))

struct RootFs {
  std::string type = "layers";
  std::vector<std::string> diff_ids;  // base first
};
CAISSON_JSON(RootFs, CAISSON_FIELD("type", type), CAISSON_FIELD("diff_ids", diff_ids))

struct ImageHistory {
  std::string created, created_by, author, comment;
  bool empty_layer = false;
};
CAISSON_JSON(ImageHistory, CAISSON_FIELD_OMIT("created", created), CAISSON_FIELD_OMIT("created_by", created_by),
             CAISSON_FIELD_OMIT("author", author), CAISSON_FIELD_OMIT("comment", comment),
             CAISSON_FIELD_OMIT("empty_layer", empty_layer))

// The config blob; its digest is the image id.
struct ImageConfig {
  std::string created, author, architecture, os, os_version, variant, docker_version;
  std::vector<std::string> os_features;
  ImageRunConfig config;
  RootFs rootfs;
  std::vector<ImageHistory> history;
};
CAISSON_JSON(ImageConfig, CAISSON_FIELD("architecture", architecture), CAISSON_FIELD_OMIT("variant", variant),
             CAISSON_FIELD_OMIT("author", author), CAISSON_FIELD("config", config),
             CAISSON_FIELD_OMIT("created", created), CAISSON_FIELD_OMIT("docker_version", docker_version),
             CAISSON_FIELD_OMIT("history", history), CAISSON_FIELD("os", os),
             CAISSON_FIELD_OMIT("os.version", os_version), CAISSON_FIELD_OMIT("os.features", os_features),
             CAISSON_FIELD("rootfs", rootfs))

// One element of manifest.json in a docker-archive.
struct ArchiveImage {
  std::string config;                          // path of the config in the archive
  std::vector<std::string> repo_tags, layers;  // paths, base first
};
CAISSON_JSON(ArchiveImage, CAISSON_FIELD("Config", config), CAISSON_FIELD_NULL("RepoTags", repo_tags),
             CAISSON_FIELD("Layers", layers))

// "oci-layout" at the root of an OCI image layout.
struct ImageLayout {
  std::string version = "1.0.0";
};
CAISSON_JSON(ImageLayout, CAISSON_FIELD("imageLayoutVersion", version))

bool is_index_type(std::string_view media_type);
bool is_manifest_type(std::string_view media_type);

// Chain-id of the first `count` layers (image spec, "Layer ChainID"): names a stack of layers.
std::string chain_id(const std::vector<std::string>& diff_ids, size_t count);

// What a config must satisfy before anything is made from it: rootfs type, well-formed diff-ids, at
// most 500 layers (the overlay's limit), as many non-empty history entries as layers where there is
// history. kInvalid with one sentence.
Result<> check_config(const ImageConfig& config);

}  // namespace caisson::spec
