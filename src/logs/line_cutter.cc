// SPDX-License-Identifier: Apache-2.0
#include "logs/line_cutter.h"

#include <algorithm>
#include <cstring>

namespace caisson::logs {

Result<> LineCutter::feed(StreamId stream, std::string_view data, int64_t time_ns, LineSink& sink) {
  Pending& pending = this->pending(stream);
  Result<> result;
  while (!data.empty()) {
    size_t room = kMaxText - pending.text.size();
    auto* newline = static_cast<const char*>(memchr(data.data(), '\n', std::min(room, data.size())));
    size_t size = newline ? static_cast<size_t>(newline - data.data()) : std::min(room, data.size());
    if (pending.text.empty() && pending.parts == 0) pending.time_ns = time_ns;
    if (!newline && size < room) {
      pending.text.append(data);
      return result;
    }
    Line line{stream, data.substr(0, size), newline != nullptr, pending.time_ns, 0};
    if (!pending.text.empty()) {
      pending.text.append(line.text);
      line.text = pending.text;
    }
    if (!newline || pending.parts > 0) line.part = ++pending.parts;
    auto added = sink.add(line);
    if (!added) result = std::move(added);
    pending.text.clear();
    if (newline) pending.parts = 0;
    data.remove_prefix(size + (newline ? 1 : 0));
  }
  return result;
}

Result<> LineCutter::finish(LineSink& sink) {
  Result<> result;
  for (StreamId stream : {StreamId::kStdout, StreamId::kStderr}) {
    Pending rest = std::exchange(pending(stream), {});
    if (rest.text.empty()) continue;
    auto added = sink.add({stream, rest.text, false, rest.time_ns, rest.parts + 1});
    if (!added) result = std::move(added);
  }
  return result;
}

void LineCutter::release_memory() {
  for (Pending& pending : pending_)
    if (pending.text.empty()) pending.text.shrink_to_fit();
}

}  // namespace caisson::logs
