// SPDX-License-Identifier: Apache-2.0
// What the Docker Engine API answers about images, networks and the engine itself.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "spec/docker_container.h"
#include "spec/oci_image.h"

namespace caisson::spec {

struct ErrorResponse {
  std::string message;
};

struct ContentSize {
  int64_t content = 0, total = 0;
};
struct UnpackedSize {
  int64_t unpacked = 0;
};
struct ManifestImageData {
  Platform platform;
  std::vector<std::string> containers;
  UnpackedSize size;
};
// What an image has for one platform.
struct ImageManifestSummary {
  std::string id;
  Descriptor descriptor;
  bool available = true;
  ContentSize size;
  std::string kind = "image";
  ManifestImageData image_data;
};
struct ImageSummary {
  std::string id, parent_id;
  std::vector<std::string> repo_tags, repo_digests;
  int64_t created = 0, size = 0, shared_size = -1;
  StringMap labels;
  int64_t containers = -1;
  std::vector<ImageManifestSummary> manifests;
  std::optional<Descriptor> descriptor;
};
struct ImageRootFs {
  std::string type = "layers";
  std::vector<std::string> layers;
};
struct ImageMetadata {
  std::string last_tag_time;
};
struct ImageInspect {
  std::string id;
  std::optional<Descriptor> descriptor;
  std::vector<ImageManifestSummary> manifests;
  std::vector<std::string> repo_tags, repo_digests;
  std::string parent, comment, created, docker_version, author, architecture, variant, os, os_version;
  int64_t size = 0;
  GraphDriver graph_driver;
  ImageRootFs root_fs;
  ImageMetadata metadata;
  json::Raw config;  // verbatim from the image's own config
};
struct ImageHistoryItem {
  std::string id;
  int64_t created = 0;
  std::string created_by;
  std::vector<std::string> tags;
  int64_t size = 0;
  std::string comment;
};
struct ImageDeleteItem {
  std::string untagged, deleted;
};

struct VersionComponent {
  std::string name, version;
  StringMap details;
};
struct VersionPlatform {
  std::string name;
};
struct SystemVersion {
  VersionPlatform platform;
  std::vector<VersionComponent> components;
  std::string version, api_version, min_api_version, git_commit, go_version, os, arch, kernel_version;
  bool experimental = false;
  std::string build_time;
};

struct PluginsInfo {
  std::vector<std::string> volume, network, authorization, log;
};
struct RuntimeInfo {
  std::string path;
};
struct CommitInfo {
  std::string id;
};
struct SwarmInfo {
  std::string node_id, node_addr, local_node_state = "inactive";
  bool control_available = false;
  std::string error;
  std::vector<json::Raw> remote_managers;
};
struct IndexInfo {
  std::string name;
  std::vector<std::string> mirrors;
  bool secure = true, official = true;
};
struct RegistryServiceConfig {
  std::vector<std::string> insecure_registry_cidrs;
  std::map<std::string, IndexInfo> index_configs;
  std::vector<std::string> mirrors;
};
struct FirewallInfo {
  std::string driver = "nftables";
};
struct AddressPool {
  std::string base;
  int64_t size = 0;
};
CAISSON_JSON(AddressPool, CAISSON_FIELD("Base", base), CAISSON_FIELD("Size", size))

struct SystemInfo {
  std::string id;
  int64_t containers = 0, containers_running = 0, containers_paused = 0, containers_stopped = 0, images = 0;
  std::string driver = "overlay2";
  std::vector<std::vector<std::string>> driver_status;
  PluginsInfo plugins;
  bool memory_limit = true, swap_limit = true, cpu_cfs_period = true, cpu_cfs_quota = true, cpu_shares = true,
       cpu_set = true, pids_limit = true, ipv4_forwarding = true, debug = false, oom_kill_disable = false;
  int64_t n_fd = 0, n_goroutines = 0;
  std::string system_time, logging_driver = "json-file", cgroup_driver = "cgroupfs", cgroup_version = "1";
  int64_t n_events_listener = 0;
  std::string kernel_version, operating_system, os_version, os_type = "linux", architecture,
                                                            index_server_address = "https://index.docker.io/v1/";
  RegistryServiceConfig registry_config;
  int64_t ncpu = 0, mem_total = 0;
  std::string docker_root_dir, http_proxy, https_proxy, no_proxy, name;
  std::vector<std::string> labels;
  bool experimental_build = false;
  std::string server_version;
  std::map<std::string, RuntimeInfo> runtimes;
  std::string default_runtime = "caisson";
  SwarmInfo swarm;
  bool live_restore_enabled = true;
  std::string isolation, init_binary = "caisson-init";
  CommitInfo containerd_commit, runc_commit, init_commit;
  std::vector<std::string> security_options, warnings;
  FirewallInfo firewall_backend;
  std::vector<AddressPool> default_address_pools;
  std::vector<std::string> cdi_spec_dirs;
};

struct DiskUsage {
  int64_t layers_size = 0;
  std::vector<ImageSummary> images;
  std::vector<ContainerSummary> containers;
  std::vector<json::Raw> volumes, build_cache;
  // Ours, Docker does not tell: logs of all containers; blobs that no image has (of the registry server, of pulls that
  // are not complete); downloads and uploads that go on; copies of layers that the vfs driver keeps.
  int64_t logs_size = 0, other_blobs_size = 0, partial_size = 0, copies_size = 0;
};

CAISSON_JSON(ErrorResponse, CAISSON_FIELD("message", message))
CAISSON_JSON(ContentSize, CAISSON_FIELD("Content", content), CAISSON_FIELD("Total", total))
CAISSON_JSON(UnpackedSize, CAISSON_FIELD("Unpacked", unpacked))
CAISSON_JSON(ManifestImageData, CAISSON_FIELD("Platform", platform), CAISSON_FIELD("Containers", containers),
             CAISSON_FIELD("Size", size))
CAISSON_JSON(ImageManifestSummary, CAISSON_FIELD("ID", id), CAISSON_FIELD("Descriptor", descriptor),
             CAISSON_FIELD("Available", available), CAISSON_FIELD("Size", size), CAISSON_FIELD("Kind", kind),
             CAISSON_FIELD("ImageData", image_data))
CAISSON_JSON(ImageSummary, CAISSON_FIELD("Id", id), CAISSON_FIELD("ParentId", parent_id),
             CAISSON_FIELD("RepoTags", repo_tags), CAISSON_FIELD("RepoDigests", repo_digests),
             CAISSON_FIELD("Created", created), CAISSON_FIELD("Size", size), CAISSON_FIELD("SharedSize", shared_size),
             CAISSON_FIELD_NULL("Labels", labels), CAISSON_FIELD("Containers", containers),
             CAISSON_FIELD_OMIT("Manifests", manifests), CAISSON_FIELD_OMIT("Descriptor", descriptor))
CAISSON_JSON(ImageRootFs, CAISSON_FIELD("Type", type), CAISSON_FIELD("Layers", layers))
CAISSON_JSON(ImageMetadata, CAISSON_FIELD("LastTagTime", last_tag_time))
CAISSON_JSON(ImageInspect, CAISSON_FIELD("Id", id), CAISSON_FIELD_OMIT("Descriptor", descriptor),
             CAISSON_FIELD_OMIT("Manifests", manifests), CAISSON_FIELD("RepoTags", repo_tags),
             CAISSON_FIELD("RepoDigests", repo_digests), CAISSON_FIELD("Parent", parent),
             CAISSON_FIELD("Comment", comment), CAISSON_FIELD_OMIT("Created", created),
             CAISSON_FIELD("DockerVersion", docker_version), CAISSON_FIELD("Author", author),
             CAISSON_FIELD("Config", config), CAISSON_FIELD("Architecture", architecture),
             CAISSON_FIELD_OMIT("Variant", variant), CAISSON_FIELD("Os", os),
             CAISSON_FIELD_OMIT("OsVersion", os_version), CAISSON_FIELD("Size", size),
             CAISSON_FIELD("GraphDriver", graph_driver), CAISSON_FIELD("RootFS", root_fs),
             CAISSON_FIELD("Metadata", metadata))
CAISSON_JSON(ImageHistoryItem, CAISSON_FIELD("Id", id), CAISSON_FIELD("Created", created),
             CAISSON_FIELD("CreatedBy", created_by), CAISSON_FIELD_NULL("Tags", tags), CAISSON_FIELD("Size", size),
             CAISSON_FIELD("Comment", comment))
CAISSON_JSON(ImageDeleteItem, CAISSON_FIELD_OMIT("Untagged", untagged), CAISSON_FIELD_OMIT("Deleted", deleted))
CAISSON_JSON(VersionComponent, CAISSON_FIELD("Name", name), CAISSON_FIELD("Version", version),
             CAISSON_FIELD("Details", details))
CAISSON_JSON(VersionPlatform, CAISSON_FIELD("Name", name))
CAISSON_JSON(SystemVersion, CAISSON_FIELD("Platform", platform), CAISSON_FIELD("Components", components),
             CAISSON_FIELD("Version", version), CAISSON_FIELD("ApiVersion", api_version),
             CAISSON_FIELD("MinAPIVersion", min_api_version), CAISSON_FIELD("GitCommit", git_commit),
             CAISSON_FIELD("GoVersion", go_version), CAISSON_FIELD("Os", os), CAISSON_FIELD("Arch", arch),
             CAISSON_FIELD("KernelVersion", kernel_version), CAISSON_FIELD_OMIT("Experimental", experimental),
             CAISSON_FIELD("BuildTime", build_time))
CAISSON_JSON(PluginsInfo, CAISSON_FIELD("Volume", volume), CAISSON_FIELD("Network", network),
             CAISSON_FIELD_NULL("Authorization", authorization), CAISSON_FIELD("Log", log))
CAISSON_JSON(RuntimeInfo, CAISSON_FIELD("path", path))
CAISSON_JSON(CommitInfo, CAISSON_FIELD("ID", id))
CAISSON_JSON(SwarmInfo, CAISSON_FIELD("NodeID", node_id), CAISSON_FIELD("NodeAddr", node_addr),
             CAISSON_FIELD("LocalNodeState", local_node_state), CAISSON_FIELD("ControlAvailable", control_available),
             CAISSON_FIELD("Error", error), CAISSON_FIELD_NULL("RemoteManagers", remote_managers))
CAISSON_JSON(IndexInfo, CAISSON_FIELD("Name", name), CAISSON_FIELD("Mirrors", mirrors), CAISSON_FIELD("Secure", secure),
             CAISSON_FIELD("Official", official))
CAISSON_JSON(RegistryServiceConfig, CAISSON_FIELD("InsecureRegistryCIDRs", insecure_registry_cidrs),
             CAISSON_FIELD("IndexConfigs", index_configs), CAISSON_FIELD("Mirrors", mirrors))
CAISSON_JSON(FirewallInfo, CAISSON_FIELD("Driver", driver))
CAISSON_JSON(
    SystemInfo, CAISSON_FIELD("ID", id), CAISSON_FIELD("Containers", containers),
    CAISSON_FIELD("ContainersRunning", containers_running), CAISSON_FIELD("ContainersPaused", containers_paused),
    CAISSON_FIELD("ContainersStopped", containers_stopped), CAISSON_FIELD("Images", images),
    CAISSON_FIELD("Driver", driver), CAISSON_FIELD("DriverStatus", driver_status), CAISSON_FIELD("Plugins", plugins),
    CAISSON_FIELD("MemoryLimit", memory_limit), CAISSON_FIELD("SwapLimit", swap_limit),
    CAISSON_FIELD("CpuCfsPeriod", cpu_cfs_period), CAISSON_FIELD("CpuCfsQuota", cpu_cfs_quota),
    CAISSON_FIELD("CPUShares", cpu_shares), CAISSON_FIELD("CPUSet", cpu_set), CAISSON_FIELD("PidsLimit", pids_limit),
    CAISSON_FIELD_OMIT("DefaultAddressPools", default_address_pools), CAISSON_FIELD("IPv4Forwarding", ipv4_forwarding),
    CAISSON_FIELD("Debug", debug), CAISSON_FIELD("NFd", n_fd), CAISSON_FIELD("OomKillDisable", oom_kill_disable),
    CAISSON_FIELD("NGoroutines", n_goroutines), CAISSON_FIELD("SystemTime", system_time),
    CAISSON_FIELD("LoggingDriver", logging_driver), CAISSON_FIELD("CgroupDriver", cgroup_driver),
    CAISSON_FIELD("CgroupVersion", cgroup_version), CAISSON_FIELD("NEventsListener", n_events_listener),
    CAISSON_FIELD("KernelVersion", kernel_version), CAISSON_FIELD("OperatingSystem", operating_system),
    CAISSON_FIELD("OSVersion", os_version), CAISSON_FIELD("OSType", os_type),
    CAISSON_FIELD("Architecture", architecture), CAISSON_FIELD("IndexServerAddress", index_server_address),
    CAISSON_FIELD("RegistryConfig", registry_config), CAISSON_FIELD("NCPU", ncpu), CAISSON_FIELD("MemTotal", mem_total),
    CAISSON_FIELD("DockerRootDir", docker_root_dir), CAISSON_FIELD("HttpProxy", http_proxy),
    CAISSON_FIELD("HttpsProxy", https_proxy), CAISSON_FIELD("NoProxy", no_proxy), CAISSON_FIELD("Name", name),
    CAISSON_FIELD("Labels", labels), CAISSON_FIELD("ExperimentalBuild", experimental_build),
    CAISSON_FIELD("ServerVersion", server_version), CAISSON_FIELD("Runtimes", runtimes),
    CAISSON_FIELD("DefaultRuntime", default_runtime), CAISSON_FIELD("Swarm", swarm),
    CAISSON_FIELD("LiveRestoreEnabled", live_restore_enabled), CAISSON_FIELD("Isolation", isolation),
    CAISSON_FIELD("InitBinary", init_binary), CAISSON_FIELD("ContainerdCommit", containerd_commit),
    CAISSON_FIELD("RuncCommit", runc_commit), CAISSON_FIELD("InitCommit", init_commit),
    CAISSON_FIELD("SecurityOptions", security_options), CAISSON_FIELD_NULL("Warnings", warnings),
    CAISSON_FIELD("FirewallBackend", firewall_backend), CAISSON_FIELD("CDISpecDirs", cdi_spec_dirs))
CAISSON_JSON(DiskUsage, CAISSON_FIELD("LayersSize", layers_size), CAISSON_FIELD("Images", images),
             CAISSON_FIELD("Containers", containers), CAISSON_FIELD("Volumes", volumes),
             CAISSON_FIELD("BuildCache", build_cache), CAISSON_FIELD("LogsSize", logs_size),
             CAISSON_FIELD("OtherBlobsSize", other_blobs_size), CAISSON_FIELD("PartialSize", partial_size),
             CAISSON_FIELD("CopiesSize", copies_size))

}  // namespace caisson::spec
