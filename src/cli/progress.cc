// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <algorithm>

#include "base/text.h"
#include "cli/units.h"
#include "sys/terminal.h"

namespace caisson::cli {

static constexpr size_t kMaxMessage = 16 << 20;

std::string progress_bar(const JsonValue& detail, size_t columns) {
  int64_t current = detail.at("current").as_int(), total = detail.at("total").as_int();
  const std::string& units = detail.at("units").text();
  if (current <= 0 && total <= 0) return {};
  if (total <= 0)
    return units.empty() ? format("%8s", human_size(static_cast<double>(current)).c_str())
                         : format("%lld %s", static_cast<long long>(current), units.c_str());
  int half = std::clamp(static_cast<int>(static_cast<double>(current) / static_cast<double>(total) * 100) / 2, 0, 50);
  std::string out;
  if (columns > 110)
    out = "[" + std::string(static_cast<size_t>(half), '=') + ">" + std::string(static_cast<size_t>(50 - half), ' ') +
          "] ";
  if (detail.at("hidecounts").as_bool()) return out;
  if (!units.empty())
    return out + format("%lld/%lld %s", static_cast<long long>(current), static_cast<long long>(total), units.c_str());
  out += format("%8s", human_size(static_cast<double>(current)).c_str());
  if (current <= total) out += "/" + human_size(static_cast<double>(total));
  return out;
}

Result<> ProgressDisplay::show(const JsonValue& message) {
  if (!message.at("aux").is_null()) return {};
  if (const std::string& text = message.at("errorDetail", "message").text(); !text.empty())
    return fail(ErrorKind::kInternal, "%s", text.c_str());
  if (const std::string& text = message.at("error").text(); !text.empty())
    return fail(ErrorKind::kInternal, "%s", text.c_str());
  const std::string &id = message.at("id").text(), &stream = message.at("stream").text();
  bool has_detail = message.at("progressDetail").is_object();
  size_t up = 0;
  if (!id.empty() && has_detail) {
    auto [line, added] = lines_.try_emplace(id, lines_.size());
    if (added && columns_) out_.print("\n");
    up = lines_.size() - line->second;
    if (columns_ && up) out_.printf("\x1b[%zuA", up);
  } else {
    // Anything else moves the block up for good.
    lines_.clear();
  }
  std::string bar = has_detail ? progress_bar(message.at("progressDetail"), columns_) : "";
  bool redraw = columns_ && stream.empty() && has_detail;
  if (redraw || bar.empty()) {
    if (redraw) out_.print("\x1b[2K\r");
    if (!id.empty()) out_.print(id + ": ");
    const std::string& status = message.at("status").text();
    if (redraw)
      out_.print(status + " " + bar + "\r");
    else if (!stream.empty())
      out_.print(stream);
    else
      out_.print(status + "\n");
  }
  if (columns_ && up) out_.printf("\x1b[%zuB", up);
  return {};
}

Result<> JsonSplitter::feed(std::string_view data, const std::function<Result<>(std::string_view)>& each) {
  pending_ += data;
  size_t start = 0;
  for (; scanned_ < pending_.size(); ++scanned_) {
    char c = pending_[scanned_];
    if (in_string_) {
      if (escaped_)
        escaped_ = false;
      else if (c == '\\')
        escaped_ = true;
      else if (c == '"')
        in_string_ = false;
      continue;
    }
    if (c == '"') in_string_ = true;
    if (c == '{' || c == '[') ++depth_;
    if ((c == '}' || c == ']') && depth_ > 0 && --depth_ == 0) {
      TRY(each(trim(std::string_view(pending_).substr(start, scanned_ + 1 - start))));
      start = scanned_ + 1;
    }
  }
  pending_.erase(0, start);
  scanned_ -= start;
  if (pending_.size() > kMaxMessage) return fail(ErrorKind::kExhausted, "a message of the engine is too long");
  return {};
}

Result<> JsonSplitter::finish() const {
  if (!trim(pending_).empty()) return fail(ErrorKind::kCorrupt, "unexpected EOF");
  return {};
}

Result<> each_message(Engine::Stream& stream, const std::function<Result<>(const JsonValue&)>& each) {
  JsonSplitter splitter;
  std::string buffer(64 << 10, '\0');
  while (true) {
    size_t n = TRY(stream.client->read(buffer));
    if (n == 0) return splitter.finish();
    TRY(splitter.feed({buffer.data(), n}, [&](std::string_view text) -> Result<> {
      JsonValue message = TRY(JsonValue::parse(text));
      return each(message);
    }));
  }
}

Result<> show_progress(Engine::Stream& stream, Output& out, bool quiet) {
  ProgressDisplay display(out, out.is_terminal() ? sys::terminal_size(out.fd()).columns : 0);
  auto result = each_message(stream, [&](const JsonValue& message) -> Result<> {
    if (quiet) {
      const std::string& text = message.at("error").text();
      if (!text.empty()) return fail(ErrorKind::kInternal, "%s", text.c_str());
      return {};
    }
    auto shown = display.show(message);
    out.flush();
    return shown;
  });
  out.flush();
  return result;
}

}  // namespace caisson::cli
