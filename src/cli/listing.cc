// SPDX-License-Identifier: Apache-2.0
#include "cli/listing.h"

#include "base/text.h"
#include "cli/table.h"

namespace caisson::cli {

static std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == 't' || text[i + 1] == 'n'))
      out += text[++i] == 't' ? '\t' : '\n';
    else
      out += text[i];
  }
  return out;
}

Result<Listing> Listing::make(std::string_view format, std::string_view default_table, std::span<const Column> columns,
                              std::string_view type_name) {
  format = trim(format);
  bool table = format.empty() || format.starts_with("table");
  std::string_view body = format;
  if (table) {
    body = format.empty() ? "" : trim(format.substr(5));
    if (body.empty()) body = default_table;
  } else if (format == "json") {
    body = "{{json .}}";
  }
  auto parsed = Template::parse(unescape(body));
  if (!parsed) return with_context(parsed.error(), "failed to parse template");
  Listing listing(std::move(*parsed));
  listing.table_ = table;
  listing.type_name_ = std::string(type_name);
  if (table) {
    JsonValue header = JsonValue::object();
    for (const Column& column : columns) header.set(column.field, column.header);
    TRY(listing.add(header));
  }
  return listing;
}

Result<> Listing::add(const JsonValue& row, const JsonValue& labels) {
  auto text = template_.execute(row, type_name_, &labels);
  if (!text) return with_context(text.error(), "failed to execute template");
  text_ += *text + "\n";
  return {};
}

void Listing::print(Output& out) {
  if (table_)
    out.print(align_table(text_));
  else
    out.print(text_);
  text_.clear();
}

Result<> check_format(std::string_view format) {
  auto parsed = Template::parse(format == "json" ? "{{json .}}" : unescape(format));
  if (!parsed) return with_context(parsed.error(), "template parsing error");
  return {};
}

Result<std::string> format_one(std::string_view format, const JsonValue& data, std::string_view type_name) {
  auto parsed = Template::parse(format == "json" ? "{{json .}}" : unescape(format));
  if (!parsed) return with_context(parsed.error(), "template parsing error");
  auto text = parsed->execute(data, type_name);
  if (!text) return with_context(text.error(), "template parsing error");
  return *text;
}

}  // namespace caisson::cli
