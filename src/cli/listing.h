// SPDX-License-Identifier: Apache-2.0
// Lists in the formats of --format: a table with default or chosen columns, JSON lines, or a template
// per row. Rows are JSON objects whose members are the template's fields.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/json_value.h"
#include "cli/output.h"
#include "cli/template.h"

namespace caisson::cli {

// Usage text of --format where tables exist, and where only JSON and templates do.
inline constexpr char kFormatTableUsage[] =
    "Format output using a custom template:\n"
    "'table':            Print output in table format with column headers (default)\n"
    "'table TEMPLATE':   Print output in table format using the given Go template\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.\n"
    "Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";
inline constexpr char kFormatUsage[] =
    "Format output using a custom template:\n"
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.\n"
    "Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

struct Column {
  const char* field;
  const char* header;
};

class Listing {
 public:
  // `format` as given on the command line, "" for the default; `default_table` without the "table ".
  static Result<Listing> make(std::string_view format, std::string_view default_table, std::span<const Column> columns,
                              std::string_view type_name);
  bool mentions(std::string_view field) const { return template_.mentions(field); }
  bool is_table() const { return table_; }
  // `labels`: what .Label "key" of the row asks.
  Result<> add(const JsonValue& row, const JsonValue& labels = JsonValue::null());
  void print(Output& out);  // table: header and rows aligned

 private:
  explicit Listing(Template parsed) : template_(std::move(parsed)) {}

  Template template_;
  bool table_ = false;
  std::string type_name_;
  std::string text_;
};

// Whether format_one would accept the template.
Result<> check_format(std::string_view format);
// A template as --format of inspect, version and info takes it: "json" is {{json .}}, \t and \n are
// replaced. The message begins "template parsing error: " as theirs does.
Result<std::string> format_one(std::string_view format, const JsonValue& data, std::string_view type_name = "");

}  // namespace caisson::cli
