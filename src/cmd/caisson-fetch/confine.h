// SPDX-License-Identifier: Apache-2.0
// Takes from the calling process whatever registry traffic does not need: user, capabilities, new programs, files
// opened for writing, most system calls, memory without end.
#pragma once

#include "base/result.h"

namespace caisson::fetch {

// Single-threaded, before the first byte from outside. Run by an ordinary user it keeps that user.
Result<> confine();

}  // namespace caisson::fetch
