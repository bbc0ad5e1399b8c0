// SPDX-License-Identifier: Apache-2.0
// The part of Go's text/template that people write in --format, over a JSON tree: fields, pipelines,
// variables, if/with/range, comparison, printf, and the functions of Docker's client. Error texts follow
// Go's, because they are what users search for. No nested templates.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/json_value.h"

namespace caisson::cli {

class Template {
 public:
  struct Syntax;  // template_syntax.h

  static Result<Template> parse(std::string_view text);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // `type_name`: what the error for an unknown field calls the data; empty: data is a map, whose error
  // speaks of keys. Fields that Go's structs have and JSON leaves out when empty evaluate to null.
  // `labels`: the map behind the method .Label "key".
  Result<std::string> execute(const JsonValue& data, std::string_view type_name = "",
                              const JsonValue* labels = nullptr) const;
  // Whether the text of the template mentions field `name`, as `ps` needs to know for .Size.
  bool mentions(std::string_view name) const;

 private:
  explicit Template(std::unique_ptr<Syntax> syntax);
  std::unique_ptr<Syntax> syntax_;
};

// How Go's %v shows a value: [a b], map[k:v], <nil>.
std::string go_text(const JsonValue& value);
// False, 0, "", null and empty lists and maps are false.
bool go_truth(const JsonValue& value);

// The functions by name; nullopt-like kNotFound when there is none of that name. Arguments are values.
bool is_template_function(std::string_view name);
Result<JsonValue> call_template_function(std::string_view name, const std::vector<const JsonValue*>& args);
Result<std::string> go_printf(const std::vector<const JsonValue*>& args);

}  // namespace caisson::cli
