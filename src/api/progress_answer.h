// SPDX-License-Identifier: Apache-2.0
// The answer of an operation that tells its progress: JSON lines over a taken-over connection.
#pragma once

#include <memory>
#include <string>

#include "api/call.h"

namespace caisson::api {

// The head goes out with the first line, so that a failure before it still gets its own status.
class ProgressAnswer {
 public:
  explicit ProgressAnswer(std::unique_ptr<http::TakenConnection> connection) : connection_(std::move(connection)) {}

  void line(const std::string& json_line);
  void finish(const Result<>& outcome, bool error_was_told);
  // The same where Docker's answer is a success before the work begins.
  void finish_in_body(const Result<>& outcome);
  http::TakenConnection& connection() { return *connection_; }
  bool gone() const { return gone_; }

 private:
  void close();
  void begin(int status);

  std::unique_ptr<http::TakenConnection> connection_;
  bool begun_ = false, gone_ = false;
};

}  // namespace caisson::api
