// SPDX-License-Identifier: Apache-2.0
// The drivers: a cutter of lines in front of files, a peer, both, or nothing.
#include <unistd.h>

#include "base/text.h"
#include "logs/container_log.h"
#include "logs/file_sink.h"
#include "logs/messages.h"

namespace caisson::logs {

namespace {

constexpr int kDialTimeoutMs = 5000;

class NoneWriter : public LogWriter {
 public:
  Result<> append(StreamId, std::string_view, int64_t) override { return {}; }
  Result<> flush() override { return {}; }
  Result<> finish() override { return {}; }
};

class DriverWriter : public LogWriter, private LineSink {
 public:
  Result<> open(const LogConfig& config);
  Result<> append(StreamId stream, std::string_view data, int64_t time_ns) override;
  Result<> flush() override;
  Result<> finish() override;
  void release_memory() override;
  Result<> replay(const LogCursor& from, const Replay& replay) override;

  int poll_fd() const override { return peer_ ? peer_->poll_fd() : -1; }
  void on_ready() override { peer_->on_ready(); }
  int64_t next_deadline() const override { return peer_ ? peer_->next_deadline() : INT64_MAX; }
  void on_time(int64_t now) override {
    if (peer_ && peer_->next_deadline() <= now) peer_->on_time(now);
  }
  bool full() const override { return peer_ && peer_->full(); }
  bool lingering() const override { return peer_ && peer_->lingering(); }

 private:
  Result<> add(const Line& line) override;

  LineCutter cutter_;
  std::unique_ptr<FileSink> files_;
  std::unique_ptr<MessageMaker> messages_;
  std::unique_ptr<SocketSink> peer_;
};

Result<> DriverWriter::open(const LogConfig& config) {
  if (config.has_files()) {
    files_ = std::make_unique<FileSink>(config);
    TRY(files_->open());
  }
  if (config.driver == "syslog") {
    char hostname[256] = "localhost";
    gethostname(hostname, sizeof hostname - 1);
    messages_ = syslog_messages(config, hostname, getpid());
    peer_ =
        std::make_unique<SocketSink>(sink_options(config), [address = config.address] { return dial_syslog(address); });
  } else if (config.driver == "journald") {
    messages_ = journal_messages(config);
    peer_ = std::make_unique<SocketSink>(sink_options(config), [path = config.address] { return dial_journal(path); });
  }
  if (peer_) TRY(peer_->open(kDialTimeoutMs));
  return {};
}

Result<> DriverWriter::add(const Line& line) {
  if (peer_) peer_->push(messages_->make(line));
  return files_ ? files_->add(line) : Result<>{};
}

Result<> DriverWriter::append(StreamId stream, std::string_view data, int64_t time_ns) {
  if (peer_) peer_->keep_open();
  return cutter_.feed(stream, data, time_ns, *this);
}

Result<> DriverWriter::flush() {
  if (peer_) peer_->send();
  return files_ ? files_->flush() : Result<>{};
}

Result<> DriverWriter::finish() {
  auto finished = cutter_.finish(*this);
  auto flushed = flush();
  if (peer_) peer_->linger();
  return finished ? flushed : finished;
}

void DriverWriter::release_memory() {
  cutter_.release_memory();
  if (files_) files_->release_memory();
}

Result<> DriverWriter::replay(const LogCursor& from, const Replay& replay) {
  if (!files_) return {};
  TRY(files_->flush());
  ReadOptions options;
  options.after = from;
  auto reader = TRY(LogReader::open(files_->config(), options));
  LogEntry entry;
  while (TRY(reader->next(entry))) replay(entry.stream, entry.text);
  for (StreamId stream : {StreamId::kStdout, StreamId::kStderr})
    if (auto text = cutter_.unfinished(stream); !text.empty()) replay(stream, text);
  return {};
}

}  // namespace

Result<std::unique_ptr<LogWriter>> LogWriter::open(const LogConfig& config) {
  if (config.driver == "none") return std::make_unique<NoneWriter>();
  if (config.driver != "json-file" && config.driver != "local" && config.driver != "syslog" &&
      config.driver != "journald")
    return fail(ErrorKind::kUnsupported, "log driver %s is not known", quoted(config.driver).c_str());
  if (config.max_files > kMaxFiles) return fail(ErrorKind::kInvalid, "more than %d log files", kMaxFiles);
  auto writer = std::make_unique<DriverWriter>();
  TRY(writer->open(config));
  return writer;
}

}  // namespace caisson::logs
