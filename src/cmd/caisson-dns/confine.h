// SPDX-License-Identifier: Apache-2.0
// Takes from the calling process what answering and forwarding DNS queries does not need.
#pragma once

#include "base/result.h"

namespace caisson::dns {

// Single-threaded, after the control socket was opened. Run by an ordinary user it keeps that user.
Result<> confine();

}  // namespace caisson::dns
