// SPDX-License-Identifier: Apache-2.0
// Networks as the Docker Engine API shows and takes them (tag Network).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "spec/docker_config.h"

namespace caisson::spec {

struct NetworkIpamConfig {
  std::string subnet, ip_range, gateway;
  StringMap auxiliary;  // name to address
};
struct NetworkIpam {
  std::string driver = "default";
  StringMap options;
  std::vector<NetworkIpamConfig> config;
};
struct NetworkContainer {
  std::string name, endpoint_id, mac_address, ipv4_address, ipv6_address;
};
struct NetworkConfigFrom {
  std::string network;
};
struct NetworkInspect {
  std::string name, id, created, scope = "local", driver;
  bool enable_ipv4 = true, enable_ipv6 = false;
  NetworkIpam ipam;
  bool internal = false, attachable = false, ingress = false;
  NetworkConfigFrom config_from;
  bool config_only = false;
  std::map<std::string, NetworkContainer> containers;
  StringMap options, labels;
};

struct NetworkCreate {
  std::string name, driver, scope;
  bool internal = false, attachable = false, ingress = false, config_only = false;
  std::optional<NetworkConfigFrom> config_from;
  std::optional<NetworkIpam> ipam;
  std::optional<bool> enable_ipv4, enable_ipv6;
  StringMap options, labels;
};
struct NetworkCreated {
  std::string id, warning;
};
struct NetworkConnect {
  std::string container;
  std::optional<EndpointSettings> endpoint;
};
struct NetworkDisconnect {
  std::string container;
  bool force = false;
};

// Of POST /containers/{id}/update, beside Docker's members: ours.
struct PortChange {
  PortMap publish, unpublish;
};
CAISSON_JSON(PortChange, CAISSON_FIELD("PublishPorts", publish), CAISSON_FIELD("UnpublishPorts", unpublish))

CAISSON_JSON(NetworkIpamConfig, CAISSON_FIELD_OMIT("Subnet", subnet), CAISSON_FIELD_OMIT("IPRange", ip_range),
             CAISSON_FIELD_OMIT("Gateway", gateway), CAISSON_FIELD_OMIT("AuxiliaryAddresses", auxiliary))
CAISSON_JSON(NetworkIpam, CAISSON_FIELD("Driver", driver), CAISSON_FIELD_NULL("Options", options),
             CAISSON_FIELD("Config", config))
CAISSON_JSON(NetworkContainer, CAISSON_FIELD("Name", name), CAISSON_FIELD("EndpointID", endpoint_id),
             CAISSON_FIELD("MacAddress", mac_address), CAISSON_FIELD("IPv4Address", ipv4_address),
             CAISSON_FIELD("IPv6Address", ipv6_address))
CAISSON_JSON(NetworkConfigFrom, CAISSON_FIELD("Network", network))
CAISSON_JSON(NetworkInspect, CAISSON_FIELD("Name", name), CAISSON_FIELD("Id", id), CAISSON_FIELD("Created", created),
             CAISSON_FIELD("Scope", scope), CAISSON_FIELD("Driver", driver), CAISSON_FIELD("EnableIPv4", enable_ipv4),
             CAISSON_FIELD("EnableIPv6", enable_ipv6), CAISSON_FIELD("IPAM", ipam), CAISSON_FIELD("Internal", internal),
             CAISSON_FIELD("Attachable", attachable), CAISSON_FIELD("Ingress", ingress),
             CAISSON_FIELD("ConfigFrom", config_from), CAISSON_FIELD("ConfigOnly", config_only),
             CAISSON_FIELD("Containers", containers), CAISSON_FIELD("Options", options),
             CAISSON_FIELD("Labels", labels))
CAISSON_JSON(NetworkCreate, CAISSON_FIELD("Name", name), CAISSON_FIELD("Driver", driver), CAISSON_FIELD("Scope", scope),
             CAISSON_FIELD("Internal", internal), CAISSON_FIELD("Attachable", attachable),
             CAISSON_FIELD("Ingress", ingress), CAISSON_FIELD("ConfigOnly", config_only),
             CAISSON_FIELD("ConfigFrom", config_from), CAISSON_FIELD("IPAM", ipam),
             CAISSON_FIELD("EnableIPv4", enable_ipv4), CAISSON_FIELD("EnableIPv6", enable_ipv6),
             CAISSON_FIELD("Options", options), CAISSON_FIELD("Labels", labels))
CAISSON_JSON(NetworkCreated, CAISSON_FIELD("Id", id), CAISSON_FIELD("Warning", warning))
CAISSON_JSON(NetworkConnect, CAISSON_FIELD("Container", container), CAISSON_FIELD("EndpointConfig", endpoint))
CAISSON_JSON(NetworkDisconnect, CAISSON_FIELD("Container", container), CAISSON_FIELD("Force", force))

}  // namespace caisson::spec
