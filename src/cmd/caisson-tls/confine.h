// SPDX-License-Identifier: Apache-2.0
// Takes from the calling process what bytes in and out of open sockets do not need.
#pragma once

#include "base/result.h"

namespace caisson::tls {

// Single-threaded, after the setup was read. Run by an ordinary user it keeps that user.
Result<> confine();

}  // namespace caisson::tls
