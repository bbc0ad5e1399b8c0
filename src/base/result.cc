// SPDX-License-Identifier: Apache-2.0
// Construction of errors: message formatting and the errno table.
#include "base/result.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "base/text.h"

namespace caisson {

const char* error_kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid: return "invalid";
    case ErrorKind::kNotFound: return "not found";
    case ErrorKind::kConflict: return "conflict";
    case ErrorKind::kExists: return "exists";
    case ErrorKind::kDenied: return "denied";
    case ErrorKind::kUnsupported: return "unsupported";
    case ErrorKind::kExhausted: return "exhausted";
    case ErrorKind::kUnavailable: return "unavailable";
    case ErrorKind::kTimeout: return "timeout";
    case ErrorKind::kCancelled: return "cancelled";
    case ErrorKind::kCorrupt: return "corrupt";
    case ErrorKind::kNotModified: return "not modified";
    case ErrorKind::kIo: return "io";
    case ErrorKind::kInternal: return "internal";
  }
  return "internal";
}

ErrorKind kind_of_errno(int err) {
  switch (err) {
    case ENOENT:
    case ESRCH:
    case ENXIO: return ErrorKind::kNotFound;
    case EEXIST: return ErrorKind::kExists;
    case EACCES:
    case EPERM:
    case EROFS: return ErrorKind::kDenied;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP: return ErrorKind::kInvalid;
    case ENOSYS:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT: return ErrorKind::kUnsupported;
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE: return ErrorKind::kExhausted;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH: return ErrorKind::kUnavailable;
    case ETIMEDOUT: return ErrorKind::kTimeout;
    case EBUSY:
    case ENOTEMPTY:
    case EADDRINUSE: return ErrorKind::kConflict;
    case ECANCELED: return ErrorKind::kCancelled;
    default: return ErrorKind::kIo;
  }
}

std::string errno_text(int err) {
  char buffer[128];
  return strerror_r(err, buffer, sizeof buffer);
}

std::unexpected<Error> fail(ErrorKind kind, const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::string message = vformat(format, args);
  va_end(args);
  return std::unexpected(Error{kind, 0, std::move(message)});
}

std::unexpected<Error> fail_errno(const char* format, ...) {
  int err = errno;
  va_list args;
  va_start(args, format);
  std::string message = vformat(format, args);
  va_end(args);
  message += ": ";
  message += errno_text(err);
  return std::unexpected(Error{kind_of_errno(err), err, std::move(message)});
}

std::unexpected<Error> fail_errno_of(int err, const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::string message = vformat(format, args);
  va_end(args);
  message += ": ";
  message += errno_text(err);
  return std::unexpected(Error{kind_of_errno(err), err, std::move(message)});
}

std::unexpected<Error> with_context(Error error, std::string_view context) {
  std::string message(context);
  message += ": ";
  message += error.message;
  error.message = std::move(message);
  return std::unexpected(std::move(error));
}

}  // namespace caisson
