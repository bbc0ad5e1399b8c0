// SPDX-License-Identifier: Apache-2.0
#include "engine/event_journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "sys/files.h"
#include "wire/json.h"

namespace caisson::engine {

namespace {

struct StoredActor {
  std::string id;
  std::map<std::string, std::string> attributes;
};
CAISSON_JSON(StoredActor, CAISSON_FIELD("ID", id), CAISSON_FIELD("Attributes", attributes))
struct StoredEvent {
  std::string type, action;
  StoredActor actor;
  int64_t time_ns = 0;
};
CAISSON_JSON(StoredEvent, CAISSON_FIELD("Type", type), CAISSON_FIELD("Action", action), CAISSON_FIELD("Actor", actor),
             CAISSON_FIELD("timeNano", time_ns))

void each_event(const std::string& path, int64_t max_bytes, const std::function<void(Event&&)>& take) {
  // A file that is not there has no events; one that cannot be read is told.
  auto text = sys::read_file(path, static_cast<size_t>(max_bytes) * 2);
  if (!text) {
    if (text.error().kind != ErrorKind::kNotFound) log_warn("%s, ignoring", text.error().message.c_str());
    return;
  }
  for (std::string_view rest = *text; !rest.empty();) {
    size_t end = rest.find('\n');
    if (end == std::string_view::npos) return;
    if (auto stored = json::decode<StoredEvent>(rest.substr(0, end)); stored && stored->time_ns > 0)
      take({std::move(stored->type), std::move(stored->action), std::move(stored->actor.id),
            std::move(stored->actor.attributes), stored->time_ns});
    rest.remove_prefix(end + 1);
  }
}

}  // namespace

Result<EventJournal> EventJournal::open(std::string path, int64_t max_file_bytes) {
  EventJournal journal;
  journal.path_ = std::move(path);
  journal.max_bytes_ = max_file_bytes;
  journal.file_ = TRY(sys::open_file(journal.path_, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0600));
  auto text = TRY(sys::read_file(journal.path_, static_cast<size_t>(max_file_bytes) * 2));
  size_t whole = text.rfind('\n');
  whole = whole == std::string::npos ? 0 : whole + 1;
  if (whole < text.size() && ftruncate(journal.file_.get(), static_cast<off_t>(whole)) < 0)
    return fail_errno("truncate '%s'", journal.path_.c_str());
  journal.size_ = static_cast<int64_t>(whole);
  for (int i = 1; i >= 0; --i)
    each_event(i ? journal.path_ + ".1" : journal.path_, max_file_bytes,
               [&](Event&& event) { journal.last_ns_ = event.time_ns; });
  return journal;
}

void EventJournal::append(const std::string& line) {
  if (size_ > 0 && size_ + static_cast<int64_t>(line.size()) > max_bytes_) {
    // Readers of the old file keep it open; nobody reads a file that is being emptied.
    if (::rename(path_.c_str(), (path_ + ".1").c_str()) < 0)
      log_warn("rename '%s': %s, ignoring", path_.c_str(), errno_text(errno).c_str());
    auto next = sys::open_file(path_, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
    if (!next) return log_warn("%s, ignoring", next.error().message.c_str());
    file_ = std::move(*next);
    size_ = 0;
  }
  ssize_t written = write(file_.get(), line.data(), line.size());
  if (written == static_cast<ssize_t>(line.size())) {
    size_ += written;
    return;
  }
  log_warn("write '%s': %s, ignoring", path_.c_str(), errno_text(errno).c_str());
  // Half a line would spoil the next one.
  if (written > 0 && ftruncate(file_.get(), size_) < 0) size_ += written;
}

void EventJournal::replay(int64_t from_ns, int64_t to_ns, const std::function<void(const Event&)>& take) const {
  // A rotation between the two reads shows the same file twice: times tell.
  int64_t last = from_ns - 1;
  for (const auto& path : {path_ + ".1", path_})
    each_event(path, max_bytes_, [&](Event&& event) {
      if (event.time_ns <= last || event.time_ns >= to_ns) return;
      last = event.time_ns;
      take(event);
    });
}

}  // namespace caisson::engine
