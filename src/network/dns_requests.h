// SPDX-License-Identifier: Apache-2.0
// The client's structs as requests of the control protocol.
#pragma once

#include <string>
#include <vector>

#include "network/dns_client.h"
#include "wire/dns_control.h"

namespace caisson::network {

struct DnsRequest {
  dns::ControlRequest body;
  std::vector<int> fds;  // not owned
};
struct DnsReply {
  dns::ControlAnswer body;
  std::vector<UniqueFd> fds;
};

// `sockets` may be null: none are sent.
DnsRequest request_of(const char* type, const DnsScope& scope, const DnsSockets* sockets);
DnsRequest request_of(const DnsEndpoint& endpoint);
DnsRequest request_of_upstreams(const std::vector<DnsUpstream>& upstreams);

}  // namespace caisson::network
