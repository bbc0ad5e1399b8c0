// SPDX-License-Identifier: Apache-2.0
#include "logs/messages.h"

#include <endian.h>
#include <time.h>

#include <cstring>

#include "base/clock.h"
#include "base/ids.h"
#include "base/text.h"

namespace caisson::logs {

namespace {

constexpr int kErr = 3, kInfo = 6;  // syslog(3), also the journal's PRIORITY
int severity(const Line& line) { return line.stream == StreamId::kStderr ? kErr : kInfo; }

class SyslogMaker : public MessageMaker {
 public:
  SyslogMaker(const LogConfig& config, std::string hostname, int pid)
      : format_(config.format),
        facility_(config.facility),
        tag_(config.tag),
        hostname_(std::move(hostname)),
        pid_(pid) {}
  std::string make(const Line& line) override;

 private:
  std::string head(const Line& line) const;
  SyslogFormat format_;
  int facility_;
  std::string tag_, hostname_;
  int pid_;
};

std::string SyslogMaker::head(const Line& line) const {
  time_t seconds = line.time_ns / 1'000'000'000;
  tm parts{};
  localtime_r(&seconds, &parts);
  char stamp[64], zone[48];
  int priority = facility_ << 3 | severity(line);
  if (format_ == SyslogFormat::kUnix || format_ == SyslogFormat::kRfc3164) {
    strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", &parts);
    if (format_ == SyslogFormat::kUnix) return caisson::format("<%d>%s %s[%d]: ", priority, stamp, tag_.c_str(), pid_);
    return caisson::format("<%d>%s %s %s[%d]: ", priority, stamp, hostname_.c_str(), tag_.c_str(), pid_);
  }
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
  long offset = parts.tm_gmtoff, size = offset < 0 ? -offset : offset;
  snprintf(zone, sizeof zone, "%c%02ld:%02ld", offset < 0 ? '-' : '+', size / 3600, size / 60 % 60);
  std::string fraction;
  if (format_ == SyslogFormat::kRfc5424Micro)
    fraction = caisson::format(".%06d", static_cast<int>(line.time_ns % 1'000'000'000 / 1000));
  // DOCKER-QUIRK: the tag is the application's name and the message's id.
  return caisson::format("<%d>1 %s%s%s %s %s %d %s - ", priority, stamp, fraction.c_str(), offset == 0 ? "Z" : zone,
                         hostname_.c_str(), tag_.c_str(), pid_, tag_.c_str());
}

std::string SyslogMaker::make(const Line& line) {
  std::string out = head(line);
  out += line.text;
  if (!out.ends_with('\n')) out += '\n';
  return out;
}

// systemd.journal-fields(7): "NAME=value\n", or with a size where the value has a newline.
void put_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  if (value.find('\n') == std::string_view::npos) {
    out += '=';
  } else {
    uint64_t size = htole64(value.size());
    out += '\n';
    out.append(reinterpret_cast<const char*>(&size), sizeof size);
  }
  out += value;
  out += '\n';
}

// What the journal takes as a name: capitals, digits and underscores, none of these in front.
std::string field_name(std::string_view key) {
  std::string name;
  for (char c : key) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    bool good = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!good && name.empty()) continue;
    name += good ? c : '_';
  }
  return name.substr(0, 64);
}

class JournalMaker : public MessageMaker {
 public:
  explicit JournalMaker(const LogConfig& config);
  std::string make(const Line& line) override;

 private:
  std::string fixed_;
  std::string epoch_ = random_id();
  std::string part_id_[2];
  uint64_t ordinal_ = 0;
};

JournalMaker::JournalMaker(const LogConfig& config) {
  for (const auto& [key, value] : config.attrs) {
    std::string name = field_name(key);
    // DOCKER-QUIRK: a tag is no attribute here, it has a field of its own.
    if (!name.empty() && key != "tag") put_field(fixed_, name, value);
  }
  put_field(fixed_, "CONTAINER_ID", config.container_id.substr(0, 12));
  put_field(fixed_, "CONTAINER_ID_FULL", config.container_id);
  put_field(fixed_, "CONTAINER_NAME", config.container_name);
  put_field(fixed_, "CONTAINER_TAG", config.tag);
  put_field(fixed_, "IMAGE_NAME", config.image_name);
  put_field(fixed_, "SYSLOG_IDENTIFIER", config.tag);
}

std::string JournalMaker::make(const Line& line) {
  std::string out = fixed_;
  put_field(out, "PRIORITY", std::to_string(severity(line)));
  put_field(out, "SYSLOG_TIMESTAMP", format_rfc3339(line.time_ns));
  put_field(out, "CONTAINER_LOG_EPOCH", epoch_);
  put_field(out, "CONTAINER_LOG_ORDINAL", std::to_string(++ordinal_));
  if (line.part > 0) {
    std::string& id = part_id_[line.stream == StreamId::kStderr];
    if (line.part == 1) id = random_id();
    put_field(out, "CONTAINER_PARTIAL_ID", id);
    put_field(out, "CONTAINER_PARTIAL_ORDINAL", std::to_string(line.part));
    put_field(out, "CONTAINER_PARTIAL_LAST", line.newline ? "true" : "false");
    if (!line.newline) put_field(out, "CONTAINER_PARTIAL_MESSAGE", "true");
  }
  put_field(out, "MESSAGE", line.text);
  return out;
}

}  // namespace

std::unique_ptr<MessageMaker> syslog_messages(const LogConfig& config, std::string hostname, int pid) {
  return std::make_unique<SyslogMaker>(config, std::move(hostname), pid);
}

std::unique_ptr<MessageMaker> journal_messages(const LogConfig& config) {
  return std::make_unique<JournalMaker>(config);
}

}  // namespace caisson::logs
