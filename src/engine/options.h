// SPDX-License-Identifier: Apache-2.0
// What one engine was told at its start. Two engines with different roots share nothing.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace caisson::image {
struct RegistriesConfig;
}

namespace caisson::engine {

// How much goes to and from a registry at once.
struct TransferLimits {
  int downloads = 3, uploads = 5;  // layers of one pull, of one push
  int attempts = 4;                // of a transfer that brings nothing new
};

// Of the options, those that SIGHUP may change.
struct LiveOptions {
  std::vector<std::string> labels, insecure_registries, registry_mirrors;
  std::string default_runtime;
  int64_t default_shm_size = 0;
  bool debug = false;
  std::shared_ptr<const image::RegistriesConfig> registries;
  TransferLimits transfers;
};

// When images go by themselves: see engine/image_gc.h. Zero is "no such rule".
struct ImageGcPolicy {
  int64_t max_bytes = 0;                 // of all images together; above it the longest unused ones go
  int64_t keep_used_ns = 0;              // what was used within this time stays
  std::vector<std::string> keep_labels;  // "label" or "label=value"
  bool is_on() const { return max_bytes > 0 || keep_used_ns > 0; }
};

// What concerns addresses and rules; where a family is not named, it is IPv4.
struct NetworkOptions {
  bool ipv6 = false;                              // of the default network
  std::string bridge_address6;                    // --bip6; empty: chosen
  std::string fixed_cidr, fixed_cidr6;            // addresses of the default network are chosen from these
  std::string default_gateway, default_gateway6;  // of containers on the default network; empty: the bridge
  std::string host_ip;                            // where ports are published that name no address; empty: everywhere
  std::vector<std::string> host_gateway;  // what host-gateway means, of each family one; empty: the network's gateway
  bool icc = true, forward = true, rules = true, rules6 = true;
  bool direct_routing = false;  // --allow-direct-routing: published ports are open at the containers' own addresses
  bool honor_firewall = false;  // --firewall=honor: the host's INPUT rules hold for published ports too
  struct Block {
    std::string base;
    int size = 0;
  };
  std::vector<Block> blocks;                                                  // --default-address-pool
  std::map<std::string, std::map<std::string, std::string>> default_options;  // of new networks, by driver
};

struct EngineOptions {
  std::string data_root = "/var/lib/caisson";
  std::string exec_root = "/run/caisson";
  std::vector<std::string> hosts;  // unix:///path, tcp://ip:port
  std::string bridge = "caisson0";
  std::string bridge_address;  // --bip; empty: chosen
  std::string cgroup_parent;   // empty: derived from the roots
  std::string program_dir;     // where caisson-monitor and caisson-fetch lie
  std::vector<std::string> insecure_registries, registry_mirrors;
  // <dir>/<host:port>/{*.crt, *.cert, *.key}, of all of them; empty: the default ones.
  std::vector<std::string> registry_certs_dirs;
  std::string registries_conf = "/etc/caisson/registries.conf";  // containers-registries.conf(5); may be missing
  std::shared_ptr<const image::RegistriesConfig> registries;     // read from there
  TransferLimits transfers;
  int registry_timeout_s = 60;  // longest silence of a registry
  std::vector<std::string> dns, dns_search, dns_options;
  std::vector<std::string> labels;
  std::vector<std::string> hooks_dirs;  // see hook_files.h; empty: no hooks
  std::string log_driver = "local";     // of containers that name none
  std::map<std::string, std::string> log_options;
  int mtu = 1500;
  bool ip_masq = true;
  NetworkOptions network;
  bool debug = false;
  // What containers get that do not say.
  int64_t default_shm_size = 64 << 20;
  struct Limit {
    int64_t soft = 0, hard = 0;
  };
  std::map<std::string, Limit> default_ulimits;
  std::string default_ipc_mode = "private", default_cgroupns_mode = "private", default_runtime = "caisson";
  bool default_init = false, no_new_privileges = false;
  std::string init_path;                              // empty: beside the engine
  std::string seccomp_profile, seccomp_profile_path;  // JSON text and where it came from; empty: the built-in one
  bool seccomp_unconfined = false;
  bool experimental = false;
  ImageGcPolicy image_gc;
  int64_t default_storage_size = 0;  // --storage-opt size
  bool cni = false;                  // networks of CNI's configuration directory can be used
  std::string cni_conf_dir = "/etc/cni/net.d";
  std::vector<std::string> cni_bin_dirs = {"/opt/cni/bin", "/usr/lib/cni"};
  std::string storage_driver;  // overlay2 or vfs; empty: chosen by what the data root can do

  LiveOptions live() const {
    return {labels, insecure_registries, registry_mirrors, default_runtime, default_shm_size,
            debug,  registries,          transfers};
  }
};

inline std::string init_program(const EngineOptions& options) {
  return options.init_path.empty() ? options.program_dir + "/caisson-init" : options.init_path;
}

}  // namespace caisson::engine
