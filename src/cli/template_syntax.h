// SPDX-License-Identifier: Apache-2.0
// The parsed form of a template, between template_parse.cc and template_exec.cc.
#pragma once

#include <vector>

#include "cli/template.h"

namespace caisson::cli {

struct TemplatePipe;

struct TemplateOperand {
  enum class Kind : uint8_t { kDot, kVariable, kFunction, kConstant, kNil, kPipe };
  Kind kind = Kind::kDot;
  std::string name;                 // of a variable ("$" included) or function
  std::vector<std::string> fields;  // .A.B behind it
  JsonValue constant;
  std::vector<TemplatePipe> pipe;  // one element for kPipe
  size_t column = 0;
  std::string source;  // as written, for messages
};

struct TemplateCall {
  std::vector<TemplateOperand> operands;
};

struct TemplatePipe {
  std::vector<std::string> declared;  // variables on the left of := or =
  bool assigns = false;               // = rather than :=
  std::vector<TemplateCall> calls;
};

struct TemplateNode {
  enum class Kind : uint8_t { kText, kAction, kIf, kWith, kRange };
  Kind kind = Kind::kText;
  std::string text;
  TemplatePipe pipe;
  std::vector<TemplateNode> body, otherwise;
  size_t line = 1;
};

struct Template::Syntax {
  std::vector<TemplateNode> nodes;
  std::string source;
};

}  // namespace caisson::cli
