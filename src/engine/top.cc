// SPDX-License-Identifier: Apache-2.0
#include "engine/top.h"

#include <pwd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <optional>

#include "base/clock.h"
#include "base/text.h"
#include "sys/files.h"

namespace caisson::engine {

namespace {

struct Process {
  pid_t pid = 0;
  std::string comm, command, state, tty;
  int64_t ppid = 0, pgid = 0, sid = 0, nice = 0, threads = 0;
  uint64_t cpu_ticks = 0, start_ticks = 0, vsz_kb = 0, rss_kb = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

std::string tty_name(uint64_t device) {
  if (device == 0) return "?";
  unsigned major_number = major(device), minor_number = minor(device);
  if (major_number >= 136 && major_number <= 143) return format("pts/%u", (major_number - 136) * 256 + minor_number);
  if (major_number == 4) return format("tty%u", minor_number);
  return "?";
}

std::optional<Process> read_process(pid_t pid) {
  std::string dir = format("/proc/%d", pid);
  auto stat_text = sys::read_file(dir + "/stat", 4096);
  struct stat st {};
  if (!stat_text || stat(dir.c_str(), &st) < 0) return std::nullopt;
  size_t open_at = stat_text->find('('), close_at = stat_text->rfind(')');
  if (open_at == std::string::npos || close_at == std::string::npos || close_at + 2 > stat_text->size())
    return std::nullopt;
  auto fields = split(trim(std::string_view(*stat_text).substr(close_at + 2)), ' ');
  if (fields.size() < 22) return std::nullopt;
  auto number = [&](size_t at) { return parse_int(fields[at]).value_or(0); };
  Process process;
  process.pid = pid;
  process.comm = stat_text->substr(open_at + 1, close_at - open_at - 1);
  process.state = fields[0];
  process.ppid = number(1);
  process.pgid = number(2);
  process.sid = number(3);
  process.tty = tty_name(static_cast<uint64_t>(number(4)));
  process.cpu_ticks = static_cast<uint64_t>(number(11) + number(12));
  process.nice = number(16);
  process.threads = number(17);
  process.start_ticks = static_cast<uint64_t>(number(19));
  process.vsz_kb = static_cast<uint64_t>(number(20)) / 1024;
  process.rss_kb = static_cast<uint64_t>(number(21)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / 1024;
  process.uid = st.st_uid;
  process.gid = st.st_gid;
  if (auto line = sys::read_file(dir + "/cmdline", 64 << 10); line && !line->empty()) {
    process.command = *line;
    if (process.command.back() == '\0') process.command.pop_back();
    std::replace(process.command.begin(), process.command.end(), '\0', ' ');
  } else {
    process.command = "[" + process.comm + "]";
  }
  return process;
}

struct Moment {
  int64_t now_s = 0, boot_s = 0;
  long ticks = 100;
  uint64_t memory_kb = 1;
};

Moment current_moment() {
  Moment moment;
  moment.now_s = now_ns() / 1000000000;
  moment.ticks = sysconf(_SC_CLK_TCK);
  moment.boot_s = moment.now_s - monotonic_ns() / 1000000000;
  if (auto text = sys::read_file("/proc/stat", 1 << 20)) {
    size_t at = text->find("\nbtime ");
    if (at != std::string::npos)
      moment.boot_s =
          parse_int(std::string_view(*text).substr(at + 7, text->find('\n', at + 1) - at - 7)).value_or(moment.boot_s);
  }
  moment.memory_kb =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * (static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / 1024);
  return moment;
}

std::string user_name(uid_t uid) {
  // getpwuid would load NSS modules into the engine; the host's own file is enough.
  if (auto text = sys::read_file("/etc/passwd", 1 << 20)) {
    for (const auto& line : split(*text, '\n')) {
      auto parts = split(line, ':');
      if (parts.size() > 2 && parts[2] == std::to_string(uid)) return parts[0];
    }
  }
  return std::to_string(uid);
}

std::string start_text(const Process& process, const Moment& moment) {
  time_t started = static_cast<time_t>(moment.boot_s + static_cast<int64_t>(process.start_ticks) / moment.ticks);
  tm parts{};
  localtime_r(&started, &parts);
  char buffer[16];
  strftime(buffer, sizeof buffer, moment.now_s - started < 86400 ? "%H:%M" : "%b%d", &parts);
  return buffer;
}

std::string cpu_time(const Process& process, const Moment& moment, bool with_hours) {
  int64_t seconds = static_cast<int64_t>(process.cpu_ticks) / moment.ticks;
  if (!with_hours)
    return format("%lld:%02lld", static_cast<long long>(seconds / 60), static_cast<long long>(seconds % 60));
  return format("%02lld:%02lld:%02lld", static_cast<long long>(seconds / 3600),
                static_cast<long long>(seconds / 60 % 60), static_cast<long long>(seconds % 60));
}

double cpu_percent(const Process& process, const Moment& moment) {
  int64_t started = moment.boot_s + static_cast<int64_t>(process.start_ticks) / moment.ticks;
  int64_t alive = std::max<int64_t>(1, moment.now_s - started);
  return 100.0 * (static_cast<double>(process.cpu_ticks) / static_cast<double>(moment.ticks)) /
         static_cast<double>(alive);
}

struct Column {
  const char* key;
  const char* title;
  std::string (*value)(const Process&, const Moment&);
};

// Keys as ps knows them in -o; titles as ps prints them.
const Column kColumns[] = {
    {"user", "USER", [](const Process& p, const Moment&) { return user_name(p.uid); }},
    {"euser", "EUSER", [](const Process& p, const Moment&) { return user_name(p.uid); }},
    {"uid", "UID", [](const Process& p, const Moment&) { return std::to_string(p.uid); }},
    {"gid", "GID", [](const Process& p, const Moment&) { return std::to_string(p.gid); }},
    {"pid", "PID", [](const Process& p, const Moment&) { return std::to_string(p.pid); }},
    {"ppid", "PPID", [](const Process& p, const Moment&) { return std::to_string(p.ppid); }},
    {"pgid", "PGID", [](const Process& p, const Moment&) { return std::to_string(p.pgid); }},
    {"sid", "SID", [](const Process& p, const Moment&) { return std::to_string(p.sid); }},
    {"c", "C", [](const Process& p, const Moment& m) { return format("%d", static_cast<int>(cpu_percent(p, m))); }},
    {"%cpu", "%CPU", [](const Process& p, const Moment& m) { return format("%.1f", cpu_percent(p, m)); }},
    {"pcpu", "%CPU", [](const Process& p, const Moment& m) { return format("%.1f", cpu_percent(p, m)); }},
    {"%mem", "%MEM",
     [](const Process& p, const Moment& m) {
       return format("%.1f", 100.0 * static_cast<double>(p.rss_kb) / static_cast<double>(m.memory_kb));
     }},
    {"pmem", "%MEM",
     [](const Process& p, const Moment& m) {
       return format("%.1f", 100.0 * static_cast<double>(p.rss_kb) / static_cast<double>(m.memory_kb));
     }},
    {"vsz", "VSZ", [](const Process& p, const Moment&) { return std::to_string(p.vsz_kb); }},
    {"rss", "RSS", [](const Process& p, const Moment&) { return std::to_string(p.rss_kb); }},
    {"stime", "STIME", start_text},
    {"start", "START", start_text},
    {"tty", "TTY", [](const Process& p, const Moment&) { return p.tty; }},
    {"tt", "TT", [](const Process& p, const Moment&) { return p.tty; }},
    {"stat", "STAT", [](const Process& p, const Moment&) { return p.state; }},
    {"state", "S", [](const Process& p, const Moment&) { return p.state; }},
    {"s", "S", [](const Process& p, const Moment&) { return p.state; }},
    {"time", "TIME", [](const Process& p, const Moment& m) { return cpu_time(p, m, true); }},
    {"bsdtime", "TIME", [](const Process& p, const Moment& m) { return cpu_time(p, m, false); }},
    {"ni", "NI", [](const Process& p, const Moment&) { return std::to_string(p.nice); }},
    {"nice", "NI", [](const Process& p, const Moment&) { return std::to_string(p.nice); }},
    {"nlwp", "NLWP", [](const Process& p, const Moment&) { return std::to_string(p.threads); }},
    {"comm", "COMMAND", [](const Process& p, const Moment&) { return p.comm; }},
    {"ucmd", "CMD", [](const Process& p, const Moment&) { return p.comm; }},
    {"cmd", "CMD", [](const Process& p, const Moment&) { return p.command; }},
    {"args", "COMMAND", [](const Process& p, const Moment&) { return p.command; }},
    {"command", "COMMAND", [](const Process& p, const Moment&) { return p.command; }},
};

struct Shown {
  std::string title;
  const Column* column;
};

Result<> add_columns(std::string_view list, std::vector<Shown>& out) {
  std::string spaced(list);
  std::replace(spaced.begin(), spaced.end(), ' ', ',');
  for (const auto& word : split(spaced, ',')) {
    if (word.empty()) continue;
    auto pair = split_once(word, '=');
    std::string key = to_lower(pair ? pair->first : word);
    auto found =
        std::find_if(std::begin(kColumns), std::end(kColumns), [&](const Column& column) { return key == column.key; });
    if (found == std::end(kColumns))
      return fail(ErrorKind::kInvalid, "ps: error: unknown user-defined format specifier \"%s\"",
                  key.substr(0, 64).c_str());
    out.push_back({pair && !pair->second.empty() ? pair->second : found->title, found});
  }
  return {};
}

Result<std::vector<Shown>> choose_columns(const std::string& ps_args) {
  std::vector<std::string> words;
  for (auto& word : split(ps_args, ' '))
    if (!word.empty()) words.push_back(std::move(word));
  std::vector<Shown> chosen;
  bool full = words.empty(), bsd = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "-o" || word == "o" || word == "-eo" || word == "--format" || word == "-efo") {
      if (i + 1 >= words.size())
        return fail(ErrorKind::kInvalid, "ps: error: format specification must follow %s", word.c_str());
      TRY(add_columns(words[++i], chosen));
    } else if (word.starts_with("-o") && word.size() > 2) {
      TRY(add_columns(word.substr(2), chosen));
    } else if (word.starts_with("--format=")) {
      TRY(add_columns(word.substr(9), chosen));
    } else {
      for (char c : word) {
        if (c == 'f') full = true;
        if (c == 'u' && !word.starts_with('-')) bsd = true;
        if (std::string_view("-aAefuxlwHTjF").find(c) == std::string_view::npos)
          return fail(ErrorKind::kInvalid, "ps: error: unsupported option '%s'", word.substr(0, 64).c_str());
      }
    }
  }
  if (!chosen.empty()) return chosen;
  if (bsd) {
    TRY(add_columns("user,pid,%cpu,%mem,vsz,rss,tty,stat,start,bsdtime,command", chosen));
  } else if (full) {
    TRY(add_columns("user=UID,pid,ppid,c,stime,tty,time,cmd", chosen));
  } else {
    TRY(add_columns("pid,tty,time,ucmd", chosen));
  }
  return chosen;
}

}  // namespace

Result<spec::TopResponse> top(const std::vector<pid_t>& pids, const std::string& ps_args) {
  auto columns = TRY(choose_columns(ps_args));
  // Docker finds a line's process by this column, and so may its clients.
  if (std::none_of(columns.begin(), columns.end(), [](const Shown& shown) { return shown.title == "PID"; }))
    return fail(ErrorKind::kInternal, "Couldn't find PID field in ps output");
  Moment moment = current_moment();
  spec::TopResponse out;
  for (const auto& shown : columns) out.titles.push_back(shown.title);
  std::vector<pid_t> sorted = pids;
  std::sort(sorted.begin(), sorted.end());
  for (pid_t pid : sorted) {
    auto process = read_process(pid);
    if (!process) continue;
    std::vector<std::string> row;
    for (const auto& shown : columns) row.push_back(shown.column->value(*process, moment));
    out.processes.push_back(std::move(row));
  }
  return out;
}

}  // namespace caisson::engine
