// SPDX-License-Identifier: Apache-2.0
// The file that tells how a container ended when nobody was listening. One flat JSON object, small
// enough to be written and read by hand.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "monitor/client.h"

namespace caisson::monitor {

std::string encode_exit_record(const ExitRecord& record);
Result<ExitRecord> decode_exit_record(std::string_view text);  // kCorrupt
// Whole or absent, whoever is killed; with `sync` also after a loss of power.
Result<> write_exit_record(const std::string& record_dir, const ExitRecord& record, bool sync);

}  // namespace caisson::monitor
