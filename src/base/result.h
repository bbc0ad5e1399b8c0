// SPDX-License-Identifier: Apache-2.0
// The error type of the whole tree and the macros that pass it up. Errors are values; nothing here
// throws. Not here: the mapping of kinds to HTTP status (api) and exit codes (cli).
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace caisson {

enum class ErrorKind : unsigned char {
  kInvalid,      // the caller's input is wrong
  kNotFound,     // the named object does not exist
  kConflict,     // the object's state forbids it
  kExists,       // an object of that name is there already
  kDenied,       // permission
  kUnsupported,  // this kernel, this build or this release has no such thing
  kExhausted,    // a limit was reached: disk, memory, ids, addresses
  kUnavailable,  // a peer does not answer; trying again may help
  kTimeout,
  kCancelled,
  kCorrupt,      // stored or received data fails its own check
  kNotModified,  // already in the wanted state
  kIo,
  kInternal,
};

// Reads `doing outer: doing inner: call 'object': reason`; lower case, no full stop.
struct Error {
  ErrorKind kind = ErrorKind::kInternal;
  int err = 0;  // errno where a system call failed, else 0
  std::string message;
};

template <class T = void>
using Result = std::expected<T, Error>;

const char* error_kind_name(ErrorKind kind);

// The kind that fits an errno value, for failures whose meaning the caller does not know better.
ErrorKind kind_of_errno(int err);

// An error with a printf-style message.
[[gnu::format(printf, 2, 3)]] std::unexpected<Error> fail(ErrorKind kind, const char* format, ...);

// An error from a system call: `format` names call and object (`openat2 'etc/passwd'`), the reason is
// added. Reads errno first, so it may be called with anything in the arguments.
[[gnu::format(printf, 1, 2)]] std::unexpected<Error> fail_errno(const char* format, ...);
[[gnu::format(printf, 2, 3)]] std::unexpected<Error> fail_errno_of(int err, const char* format, ...);

// Text of an errno value, thread-safe.
std::string errno_text(int err);

// Puts `context: ` in front of the message.
std::unexpected<Error> with_context(Error error, std::string_view context);

namespace detail {
template <class T>
T take(std::expected<T, Error>&& r) {
  return std::move(*r);
}
inline void take(std::expected<void, Error>&&) {}
}  // namespace detail

}  // namespace caisson

// Each use has a variable of its own name, so that TRY(f(TRY(g()))) shadows nothing.
#define CAISSON_TRY_NAME2(line) caisson_try_##line
#define CAISSON_TRY_NAME(line) CAISSON_TRY_NAME2(line)
#define CAISSON_TRY_AS(name, expr, on_error)  \
  ({                                          \
    auto name = (expr);                       \
    if (!name) return on_error;               \
    ::caisson::detail::take(std::move(name)); \
  })
#define CAISSON_TRY_PLAIN(name, expr) CAISSON_TRY_AS(name, expr, std::unexpected(std::move(name).error()))
#define CAISSON_TRY_CONTEXT(name, expr, context) \
  CAISSON_TRY_AS(name, expr, ::caisson::with_context(std::move(name).error(), (context)))

// Value of a Result, or return its error from the enclosing function: `auto fd = TRY(open_file(p));`
#define TRY(expr) CAISSON_TRY_PLAIN(CAISSON_TRY_NAME(__COUNTER__), expr)

// TRY that also says what was being done: `TRY_CTX(write(...), "writing the exit record")`.
#define TRY_CTX(expr, context) CAISSON_TRY_CONTEXT(CAISSON_TRY_NAME(__COUNTER__), expr, context)
