// SPDX-License-Identifier: Apache-2.0
// Limits of bandwidth: a token bucket filter (tc-tbf(8)) as the root queue of an interface.
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "sys/rtnetlink.h"

namespace caisson::sys {

namespace {
constexpr uint64_t kMinBurst = 8 << 10, kMinQueue = 32 << 10, kMaxQueue = 64 << 20;

uint32_t bytes_of(uint64_t rate, uint64_t milliseconds, uint64_t least) {
  return static_cast<uint32_t>(std::clamp(rate / 1000 * milliseconds, least, kMaxQueue));
}
}  // namespace

Result<> RouteSocket::limit_rate(const std::string& name, uint64_t bits) {
  int index = TRY(index_of(name));
  uint64_t rate = std::max<uint64_t>(bits / 8, 1);
  // Packets that the interface would cut up (GSO) and that are longer than the burst are cut up here.
  uint32_t burst = bytes_of(rate, 10, kMinBurst);
  tc_tbf_qopt options{};
  options.rate.rate = static_cast<uint32_t>(std::min<uint64_t>(rate, UINT32_MAX));
  options.rate.linklayer = TC_LINKLAYER_ETHERNET;
  options.limit = bytes_of(rate, 100, kMinQueue) + burst;
  NetlinkBuilder out;
  out.begin(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK);
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = index;
  header.tcm_parent = TC_H_ROOT;
  out.header(header);
  out.put_string(TCA_KIND, "tbf");
  out.nest(TCA_OPTIONS);
  out.attribute(TCA_TBF_PARMS, &options, sizeof options);
  out.attribute(TCA_TBF_RATE64, &rate, sizeof rate);
  out.put_u32(TCA_TBF_BURST, burst);
  out.end_nest();
  auto done = socket_.transact(out, "limit the bandwidth of link '" + name + "'");
  if (!done && (done.error().err == ENOENT || done.error().err == EOPNOTSUPP))
    return fail(ErrorKind::kUnsupported,
                "this kernel cannot limit the bandwidth of an interface (it has no 'tbf': CONFIG_NET_SCH_TBF, module "
                "sch_tbf)");
  return done;
}

}  // namespace caisson::sys
