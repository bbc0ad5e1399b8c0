// SPDX-License-Identifier: Apache-2.0
#include "api/progress_answer.h"

namespace caisson::api {

void ProgressAnswer::line(const std::string& json_line) {
  if (gone_) return;
  if (!begun_) begin(200);
  if (!gone_ && !connection_->write(json_line)) gone_ = true;
}

void ProgressAnswer::finish(const Result<>& outcome, bool error_was_told) {
  if (!outcome && !begun_) {
    begin(status_of(outcome.error().kind));
    if (!gone_ && !connection_->write(error_body(outcome.error().message))) gone_ = true;
  } else if (!outcome && !error_was_told) {
    std::string text = json::quote(outcome.error().message);
    line("{\"errorDetail\":{\"message\":" + text + "},\"error\":" + text + "}\r\n");
  } else if (!begun_) {
    begin(200);
  }
  close();
}

void ProgressAnswer::finish_in_body(const Result<>& outcome) {
  if (!begun_) begin(200);
  finish(outcome, false);
}

void ProgressAnswer::close() {
  // A client that has gone away has nobody left to tell.
  if (!gone_ && !connection_->finish()) gone_ = true;
}

void ProgressAnswer::begin(int status) {
  begun_ = true;
  http::Headers headers;
  headers.add("Content-Type", "application/json");
  if (!connection_->begin_response(status, headers)) gone_ = true;
}

}  // namespace caisson::api
