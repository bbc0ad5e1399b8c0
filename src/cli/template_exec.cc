// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <deque>

#include "base/text.h"
#include "cli/template_syntax.h"
#include "cli/units.h"

namespace caisson::cli {

namespace {

constexpr size_t kMaxOutput = 64 << 20;

// Fields that Docker's structs have but their JSON leaves out when empty: absent is null, not an error.
bool optional_field(std::string_view name) {
  static constexpr std::string_view kNames[] = {"Health",      "Healthcheck", "Shell",
                                                "StopTimeout", "StopSignal",  "ArgsEscaped",
                                                "OnBuild",     "Annotations", "NetworkDisabled",
                                                "MacAddress",  "Tmpfs",       "Sysctls",
                                                "Init",        "Mounts",      "StorageOpt",
                                                "GraphDriver", "SizeRw",      "SizeRootFs",
                                                "Manifests",   "Descriptor",  "Parent",
                                                "Variant",     "OsVersion",   "DockerVersion",
                                                "Status",      "Options",     "ImageManifestDescriptor"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// What a field is called in JSON where Docker's structs call it otherwise: templates may say either.
std::string_view name_in_json(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"ID", "Id"},
      {"APIVersion", "ApiVersion"},
      {"CPUShares", "CpuShares"},
      {"NanoCPUs", "NanoCpus"},
      {"CPUPeriod", "CpuPeriod"},
      {"CPUQuota", "CpuQuota"},
      {"CPURealtimePeriod", "CpuRealtimePeriod"},
      {"CPURealtimeRuntime", "CpuRealtimeRuntime"},
      {"CPUCfsPeriod", "CpuCfsPeriod"},
      {"CPUCfsQuota", "CpuCfsQuota"},
      {"DNS", "Dns"},
      {"DNSOptions", "DnsOptions"},
      {"DNSSearch", "DnsSearch"}};
  for (const auto& [field, json] : kNames)
    if (name == field) return json;
  return name;
}

class Execution {
 public:
  Execution(const JsonValue& data, std::string_view type_name, const JsonValue* labels)
      : type_name_(type_name), labels_(labels) {
    variables_.emplace_back("$", &data);
  }

  Result<> run(const std::vector<TemplateNode>& nodes, const JsonValue& dot) {
    for (const TemplateNode& node : nodes) TRY(run_node(node, dot));
    return {};
  }

  std::string out;

 private:
  Result<> run_node(const TemplateNode& node, const JsonValue& dot) {
    if (out.size() > kMaxOutput) return fail(ErrorKind::kExhausted, "template output is too large");
    line_ = node.line;
    switch (node.kind) {
      case TemplateNode::Kind::kText: out += node.text; return {};
      case TemplateNode::Kind::kAction: {
        const JsonValue* value = TRY(eval(node.pipe, dot, true));
        if (node.pipe.declared.empty()) out += shown(*value, node.pipe);
        return {};
      }
      case TemplateNode::Kind::kIf:
      case TemplateNode::Kind::kWith: {
        size_t scope = variables_.size();
        const JsonValue* value = TRY(eval(node.pipe, dot, true));
        bool with = node.kind == TemplateNode::Kind::kWith;
        Result<> result = go_truth(*value) ? run(node.body, with ? *value : dot) : run(node.otherwise, dot);
        variables_.resize(scope, {"", nullptr});
        return result;
      }
      case TemplateNode::Kind::kRange: return run_range(node, dot);
    }
    return {};
  }

  Result<> run_range(const TemplateNode& node, const JsonValue& dot) {
    size_t scope = variables_.size();
    const JsonValue* value = TRY(eval(node.pipe, dot, false));
    std::vector<std::pair<JsonValue, const JsonValue*>> rounds;
    if (value->is_array()) {
      for (size_t i = 0; i < value->items().size(); ++i)
        rounds.emplace_back(JsonValue(static_cast<int64_t>(i)), &value->items()[i]);
    } else if (value->is_object()) {
      for (const auto& [name, member] : value->members()) rounds.emplace_back(JsonValue(name), &member);
      std::sort(rounds.begin(), rounds.end(),
                [](const auto& a, const auto& b) { return a.first.text() < b.first.text(); });
    } else if (!value->is_null()) {
      return error(node.pipe, "range can't iterate over " + go_text(*value));
    }
    for (const auto& [key, item] : rounds) {
      const auto& names = node.pipe.declared;
      if (names.size() == 2) variables_.emplace_back(names[0], keep(key));
      if (!names.empty()) variables_.emplace_back(names.back(), item);
      Result<> result = run(node.body, *item);
      variables_.resize(scope, {"", nullptr});
      if (!result) return result;
    }
    if (rounds.empty()) return run(node.otherwise, dot);
    return {};
  }

  const JsonValue* keep(JsonValue value) { return &kept_.emplace_back(std::move(value)); }

  std::unexpected<Error> error_at(size_t column, const std::string& source, const std::string& what) {
    return fail(ErrorKind::kInvalid, "template: :%zu:%zu: executing \"\" at <%s>: %s", line_, column, source.c_str(),
                what.c_str());
  }
  std::unexpected<Error> error(const TemplatePipe& pipe, const std::string& what) {
    const TemplateOperand& first = pipe.calls.front().operands.front();
    return error_at(first.column, first.source, what);
  }

  // A null prints as what Go's typed nil would: most optional members of the API are lists.
  static std::string shown(const JsonValue& value, const TemplatePipe& pipe) {
    if (!value.is_null()) return go_text(value);
    const TemplateOperand& last = pipe.calls.back().operands.front();
    if (pipe.calls.size() != 1 || last.fields.empty()) return "<no value>";
    std::string_view name = last.fields.back();
    for (std::string_view map : {"Labels", "Volumes", "ExposedPorts", "PortBindings", "Data", "Config", "Sysctls",
                                 "Options", "Ports", "Networks", "Annotations", "Tmpfs", "StorageOpt"})
      if (name == map) return "map[]";
    for (std::string_view pointer : {"Health", "Healthcheck", "PidsLimit", "OomKillDisable", "MemorySwappiness", "Init",
                                     "IPAMConfig", "StopTimeout", "GraphDriver", "Descriptor"})
      if (name == pointer) return "<nil>";
    return "[]";
  }

  Result<const JsonValue*> eval(const TemplatePipe& pipe, const JsonValue& dot, bool declare) {
    const JsonValue* value = nullptr;
    for (const TemplateCall& call : pipe.calls) value = TRY(eval_call(call, dot, value));
    if (declare && !pipe.declared.empty()) {
      if (pipe.assigns) {
        for (auto it = variables_.rbegin(); it != variables_.rend(); ++it)
          if (it->first == pipe.declared[0]) {
            it->second = value;
            return value;
          }
      }
      variables_.emplace_back(pipe.declared[0], value);
    }
    return value;
  }

  // `last`: the value of the call before in the pipeline, the final argument of this one.
  Result<const JsonValue*> eval_call(const TemplateCall& call, const JsonValue& dot, const JsonValue* last) {
    const TemplateOperand& first = call.operands.front();
    std::vector<const JsonValue*> args;
    if (first.kind == TemplateOperand::Kind::kFunction && (first.name == "and" || first.name == "or"))
      return eval_logic(call, dot, last);
    for (size_t i = 1; i < call.operands.size(); ++i) args.push_back(TRY(eval_operand(call.operands[i], dot)));
    if (last) args.push_back(last);
    if (first.kind == TemplateOperand::Kind::kFunction) {
      // Go's encoder escapes HTML inside a row's own method, not inside single values.
      bool whole_row = first.name == "json" && !type_name_.empty() && args.size() == 1 && args[0]->is_object();
      auto result = whole_row ? Result<JsonValue>(args[0]->dump(true)) : call_template_function(first.name, args);
      if (!result)
        return error_at(first.column, source_of(call), "error calling " + first.name + ": " + result.error().message);
      const JsonValue* value = keep(std::move(*result));
      return fields(value, first);
    }
    if (labels_ && args.size() == 1 && first.fields.size() == 1 && first.fields[0] == "Label") {
      const JsonValue* label = labels_->find(args[0]->text());
      return label ? label : keep(JsonValue(""));
    }
    const JsonValue* value = TRY(eval_operand(first, dot));
    if (args.empty()) return value;
    // A method with one argument, such as .Label "key": a map that is asked for a key.
    if (!first.fields.empty() && value->is_object() && args.size() == 1) {
      const JsonValue* member = value->find(args[0]->text());
      return member ? member : keep(JsonValue(""));
    }
    return error_at(first.column, first.source, "can't give argument to non-function " + first.source);
  }

  static std::string source_of(const TemplateCall& call) {
    std::string out;
    for (const TemplateOperand& operand : call.operands) {
      if (!out.empty()) out += ' ';
      out += operand.kind == TemplateOperand::Kind::kPipe ? "(...)"
             : operand.kind == TemplateOperand::Kind::kConstant && operand.constant.is_string()
                 ? go_quote(operand.source)
                 : operand.source;
    }
    return out;
  }

  Result<const JsonValue*> eval_logic(const TemplateCall& call, const JsonValue& dot, const JsonValue* last) {
    bool want = call.operands.front().name == "or";
    const JsonValue* value = nullptr;
    for (size_t i = 1; i < call.operands.size(); ++i) {
      value = TRY(eval_operand(call.operands[i], dot));
      if (go_truth(*value) == want) return value;
    }
    if (last) value = last;
    if (!value)
      return error_at(call.operands.front().column, call.operands.front().name,
                      "wrong number of args for " + call.operands.front().name + ": want at least 1 got 0");
    return value;
  }

  Result<const JsonValue*> eval_operand(const TemplateOperand& operand, const JsonValue& dot) {
    switch (operand.kind) {
      case TemplateOperand::Kind::kDot: return fields(&dot, operand);
      case TemplateOperand::Kind::kConstant: return &operand.constant;
      case TemplateOperand::Kind::kNil: return &JsonValue::null();
      case TemplateOperand::Kind::kPipe: {
        const JsonValue* value = TRY(eval(operand.pipe.front(), dot, false));
        return fields(value, operand);
      }
      case TemplateOperand::Kind::kFunction: {
        TemplateCall call;
        call.operands.push_back(operand);
        return eval_call(call, dot, nullptr);
      }
      case TemplateOperand::Kind::kVariable:
        for (auto it = variables_.rbegin(); it != variables_.rend(); ++it)
          if (it->first == operand.name) return fields(it->second, operand);
        return error_at(operand.column, operand.source, "undefined variable \"" + operand.name + "\"");
    }
    return &dot;
  }

  Result<const JsonValue*> fields(const JsonValue* value, const TemplateOperand& operand) {
    size_t column = operand.column + (operand.kind == TemplateOperand::Kind::kDot ? 0 : operand.source.size());
    for (size_t i = 0; i < operand.fields.size(); column += operand.fields[i++].size() + 1) {
      const std::string& name = operand.fields[i];
      const JsonValue* member = value->find(name);
      if (!member && type_name_.empty()) member = value->find(name_in_json(name));
      if (!member) {
        if (!value->is_object() && !value->is_null())
          return error_at(column, operand.source, "can't evaluate field " + name + " in type " + go_type(*value));
        // `.State.Health.Status` without a health check is an error in Docker's client as well.
        bool last = i + 1 == operand.fields.size();
        if (type_name_.empty() && last && value->is_object() && optional_field(name)) return &JsonValue::null();
        return error_at(column, operand.source, missing(name));
      }
      value = member;
    }
    return value;
  }

  std::string missing(const std::string& name) const {
    if (!type_name_.empty()) return "can't evaluate field " + name + " in type " + type_name_;
    return "map has no entry for key \"" + name + "\"";
  }

  static std::string go_type(const JsonValue& value) {
    switch (value.kind()) {
      case JsonValue::Kind::kString: return "string";
      case JsonValue::Kind::kNumber: return "json.Number";
      case JsonValue::Kind::kBool: return "bool";
      default: return "interface {}";
    }
  }

  std::string type_name_;
  const JsonValue* labels_;
  size_t line_ = 1;
  std::vector<std::pair<std::string, const JsonValue*>> variables_;
  std::deque<JsonValue> kept_;
};

}  // namespace

Result<std::string> Template::execute(const JsonValue& data, std::string_view type_name,
                                      const JsonValue* labels) const {
  Execution execution(data, type_name, labels);
  TRY(execution.run(syntax_->nodes, data));
  return std::move(execution.out);
}

}  // namespace caisson::cli
