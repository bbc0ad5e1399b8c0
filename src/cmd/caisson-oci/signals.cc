// SPDX-License-Identifier: Apache-2.0
#include "signals.h"

#include <signal.h>

#include "base/text.h"
#include "sys/terminal.h"

namespace caisson::oci {

Result<int> signal_number(std::string_view text) {
  auto unknown = [&] {
    return fail(ErrorKind::kInvalid, "unknown signal \"%.*s\"", static_cast<int>(text.size()), text.data());
  };
  // Which numbers there are, the kernel knows.
  if (auto number = parse_int(text)) {
    if (*number < 0 || *number > 1024) return unknown();
    return static_cast<int>(*number);
  }
  std::string_view name = text;
  if (name.size() > 3 && equals_ignore_case(name.substr(0, 3), "SIG")) name.remove_prefix(3);
  for (int number = 1; number < 32; ++number)
    if (const char* known = sys::signal_name(number); known[0] && equals_ignore_case(name, known)) return number;
  if (equals_ignore_case(name, "CLD")) return SIGCHLD;
  if (equals_ignore_case(name, "IOT")) return SIGABRT;
  if (equals_ignore_case(name, "POLL")) return SIGIO;
  for (auto [base, at] : {std::pair{std::string_view("RTMIN"), SIGRTMIN}, {std::string_view("RTMAX"), SIGRTMAX}}) {
    if (name.size() < base.size() || !equals_ignore_case(name.substr(0, base.size()), base)) continue;
    auto rest = name.substr(base.size());
    auto offset = rest.empty() ? std::optional<int64_t>(0) : parse_int(rest[0] == '+' ? rest.substr(1) : rest);
    if (offset && *offset >= -30 && *offset <= 30 && at + *offset >= SIGRTMIN && at + *offset <= SIGRTMAX)
      return at + static_cast<int>(*offset);
  }
  return unknown();
}

}  // namespace caisson::oci
