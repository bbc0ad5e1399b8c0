// SPDX-License-Identifier: Apache-2.0
// The engine's connection to a program that outlives it (caisson-dns, caisson-relay, caisson-gate): accepts at a
// SEQPACKET socket, hands requests on, sends the answers. Of several connections the newest that says hello counts.
// One thread, the loop's; nothing blocks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/event_loop.h"

namespace caisson::sys {

class ControlSocket {
 public:
  struct Request {
    std::string_view data;  // one message
    bool newcomer = false;  // nothing but a hello is answered
    std::vector<UniqueFd> fds;
    std::vector<int> answer_fds;  // go with the answer and stay the handler's
  };
  struct Handler {
    virtual ~Handler() = default;
    // The answer; empty: the connection is ended.
    virtual std::string answer(Request& request) = 0;
    virtual void disconnected() = 0;
  };
  struct Options {
    const char* name = "";  // of the program, for the log
    UniqueFd listener;      // non-blocking, may be empty
    uid_t owner = 0;        // may connect, besides root
    size_t max_message = 0;
  };

  ControlSocket(EventLoop& loop, Handler& handler, Options options);
  ~ControlSocket();
  // `first`: a connection that is there already, which needs no hello, or empty.
  Result<> start(UniqueFd first);

  bool has_engine() const { return bool{engine_}; }
  bool is_connected() const { return engine_ || newcomer_; }

 private:
  void on_listener();
  void watch(UniqueFd& place, UniqueFd connection);
  void on_request(UniqueFd& from);
  void disconnect(UniqueFd& from);

  EventLoop& loop_;
  Handler& handler_;
  Options options_;
  UniqueFd engine_;
  UniqueFd newcomer_;  // has not said hello yet
};

}  // namespace caisson::sys
