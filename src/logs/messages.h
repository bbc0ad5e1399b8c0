// SPDX-License-Identifier: Apache-2.0
// Lines as messages of the two drivers that send them: syslog's three forms and the journal's fields.
#pragma once

#include <string>

#include "logs/line_cutter.h"
#include "logs/socket_sink.h"

namespace caisson::logs {

class MessageMaker {
 public:
  virtual ~MessageMaker() = default;
  virtual std::string make(const Line& line) = 0;
};

// As Docker writes them, byte for byte; `pid` stands where Docker's daemon has its own.
std::unique_ptr<MessageMaker> syslog_messages(const LogConfig& config, std::string hostname, int pid);
std::unique_ptr<MessageMaker> journal_messages(const LogConfig& config);

// How to reach the driver's peer. `address` is numeric by now.
Result<UniqueFd> dial_syslog(const std::string& address);
Result<UniqueFd> dial_journal(const std::string& path);
SocketSink::Options sink_options(const LogConfig& config);

}  // namespace caisson::logs
