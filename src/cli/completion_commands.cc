// SPDX-License-Identifier: Apache-2.0
// Completion in shells: `completion bash` prints a script that asks the hidden `__complete`, which answers out of the
// tables that the help is made of and, for names, out of the engine.
#include <algorithm>

#include "base/text.h"
#include "cli/command.h"
#include "cli/container_checks.h"
#include "cli/context_store.h"
#include "cli/json_value.h"

namespace caisson::cli {

namespace {

// The shell cuts words at "=" and ":" too. The line is split here at blanks alone, and what the shell takes for earlier
// words is left out of the answers.
constexpr char kBash[] = R"(# bash completion for caisson
_caisson() {
  local line=${COMP_LINE:0:COMP_POINT} words word
  read -ra words <<<"$line"
  [[ $line == *[[:blank:]] ]] && words+=("")
  word=${words[${#words[@]}-1]}
  mapfile -t COMPREPLY < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
  if [[ ${COMPREPLY[0]-} == :files ]]; then
    compopt -o default 2>/dev/null
    COMPREPLY=()
    return
  fi
  local current=${COMP_WORDS[COMP_CWORD]} cut=
  [[ $current == [=:] ]] && current=
  cut=${word%"$current"}
  [[ -n $cut ]] && COMPREPLY=("${COMPREPLY[@]#"$cut"}")
  return 0
}
complete -F _caisson caisson
)";

class Answers {
 public:
  explicit Answers(std::string word) : word_(std::move(word)) {}
  void offer(const std::string& text) {
    if (text.starts_with(word_)) found_.push_back(text);
  }
  void print(Output& out) {
    std::sort(found_.begin(), found_.end());
    found_.erase(std::unique(found_.begin(), found_.end()), found_.end());
    // A name of the engine may have what would be an order to the terminal.
    for (const std::string& text : found_)
      if (std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; })) out.line(text);
  }

 private:
  std::string word_;
  std::vector<std::string> found_;
};

void offer_flags(Answers& answers, std::span<const FlagSpec> table) {
  for (const FlagSpec& spec : table)
    if (!spec.hidden) answers.offer(std::string("--") + spec.name);
}

const FlagSpec* flag_named(const Command* command, std::string_view word) {
  const std::span<const FlagSpec> tables[] = {command ? command->flags : global_flags(),
                                              command ? command->more_flags : std::span<const FlagSpec>()};
  for (auto table : tables)
    for (const FlagSpec& spec : table)
      if (word == std::string("--") + spec.name || (spec.shorthand && word == std::string{'-', spec.shorthand}))
        return &spec;
  return nullptr;
}

bool takes_value(const Command* command, std::string_view word) {
  if (!word.starts_with('-') || word.contains('=')) return false;
  const FlagSpec* spec = flag_named(command, word);
  return spec && spec->kind != FlagKind::kBool;
}

// Names that the engine has of the kind that the usage calls `kind`.
void offer_names(App& app, Answers& answers, std::string_view kind) {
  struct Source {
    std::string_view kind;
    const char* path;
  };
  static constexpr Source kSources[] = {{"CONTAINER", "/containers/json"},
                                        {"IMAGE", "/images/json"},
                                        {"NETWORK", "/networks"},
                                        {"VOLUME", "/volumes"},
                                        {"SECRET", "/secrets"}};
  JsonValue list;
  for (const Source& source : kSources) {
    if (kind != source.kind) continue;
    http::Query query;
    if (kind == "CONTAINER") query.add("all", "1");
    auto response = app.engine().get(source.path, query);
    auto value = response ? JsonValue::parse(response->body) : Result<JsonValue>(JsonValue::array());
    if (value) list = std::move(*value);
  }
  if (kind == "CONTAINER") {
    for (const JsonValue& container : list.items())
      for (const JsonValue& name : container.at("Names").items())
        if (name.text().rfind('/') == 0) answers.offer(name.text().substr(1));
  } else if (kind == "IMAGE") {
    for (const JsonValue& image : list.items())
      for (const JsonValue& tag : image.at("RepoTags").items()) answers.offer(tag.text());
  } else if (kind == "NETWORK") {
    for (const JsonValue& network : list.items()) answers.offer(network.at("Name").text());
  } else if (kind == "VOLUME") {
    for (const JsonValue& volume : list.at("Volumes").items()) answers.offer(volume.at("Name").text());
  } else if (kind == "SECRET") {
    for (const JsonValue& secret : list.items()) answers.offer(secret.at("Spec", "Name").text());
  } else if (kind == "CONTEXT") {
    answers.offer("default");
    if (auto records = ContextStore(app.options.config_dir).list())
      for (const ContextRecord& record : *records) answers.offer(record.name);
  }
}

// The kind of the argument at `index` by the usage: "[OPTIONS] NETWORK CONTAINER", "CONTAINER [CONTAINER...]".
std::string argument_kind(const Command& command, size_t index) {
  std::vector<std::string> kinds;
  for (std::string& word : split(command.usage, ' ')) {
    std::erase_if(word, [](char c) { return c == '[' || c == ']' || c == '.'; });
    if (!word.empty() && word != "OPTIONS") kinds.push_back(word);
  }
  if (kinds.empty()) return "";
  std::string kind = index < kinds.size() ? kinds[index] : command.max_args < 0 ? kinds.back() : "";
  kind = kind.substr(0, kind.find('|'));
  // `image rm IMAGE`, `tag SOURCE_IMAGE[:TAG]`, `cp CONTAINER:SRC_PATH`.
  if (kind.starts_with("SOURCE_IMAGE")) return "IMAGE";
  return kind.substr(0, kind.find(':'));
}

// Values of flags that are names of something.
std::string_view kind_of_flag(std::string_view name) {
  if (name == "network" || name == "net") return "NETWORK";
  if (name == "volumes-from") return "CONTAINER";
  if (name == "context") return "CONTEXT";
  return "";
}

Result<int> complete(App& app, const Invocation& call) {
  std::vector<std::string> words = call.args;
  if (words.empty()) words.emplace_back();
  std::string word = words.back();
  words.pop_back();
  Answers answers(word);
  std::string name;
  const Command* command = nullptr;
  const Group* group = nullptr;
  size_t arguments = 0;
  std::string flag;  // the one whose value the last word is
  for (size_t i = 0; i < words.size(); ++i) {
    if (takes_value(command, words[i])) {
      if (i + 1 == words.size()) flag = flag_named(command, words[i])->name;
      if (!command && i + 1 < words.size()) {
        if (flag_named(command, words[i])->name == std::string_view("host")) app.options.host_text = words[i + 1];
        if (flag_named(command, words[i])->name == std::string_view("config")) app.options.config_dir = words[i + 1];
      }
      ++i;
    } else if (command) {
      arguments += !words[i].starts_with('-') || !command->interspersed;
    } else if (!words[i].starts_with('-')) {
      name += (name.empty() ? "" : " ") + words[i];
      for (const Group& known : command_groups())
        if (name == known.name) group = &known;
      command = find_command(name);
      if (!command && name != (group ? group->name : "")) return 0;
    }
  }
  app.options.autostart = false;  // asking for names is no reason to start an engine
  if (!flag.empty()) {
    std::string_view kind = kind_of_flag(flag);
    if (kind.empty()) {
      app.out.line(":files");
      return 0;
    }
    offer_names(app, answers, kind);
    answers.print(app.out);
    return 0;
  }
  if (word.starts_with('-')) {
    offer_flags(answers, command ? command->flags : group ? std::span<const FlagSpec>() : global_flags());
    if (command) offer_flags(answers, command->more_flags);
    answers.offer("--help");
  } else if (command) {
    std::string kind = argument_kind(*command, arguments);
    if (kind.empty() || kind == "COMMAND" || kind == "ARG" || kind == "file" || kind.contains("PATH")) {
      app.out.line(":files");
      return 0;
    }
    offer_names(app, answers, kind);
    if (kind == "NAME") {  // `inspect`
      for (const char* any : {"CONTAINER", "IMAGE", "NETWORK", "VOLUME"}) offer_names(app, answers, any);
    }
  } else {
    std::string prefix = group ? std::string(group->name) + " " : "";
    for (auto table : command_tables())
      for (const Command& known : table)
        for (const std::string& path : command_names(known)) {
          bool inside = !known.hidden && path.starts_with(prefix) && path.find(' ', prefix.size()) == path.npos;
          if (inside) answers.offer(path.substr(prefix.size()));
        }
    if (!group)
      for (const Group& known : command_groups()) answers.offer(known.name);
  }
  answers.print(app.out);
  return 0;
}

Result<int> completion(App& app, const Invocation& call) {
  if (call.args[0] != "bash")
    return fail(ErrorKind::kUnsupported, "there is completion for bash, not for %s", quoted(call.args[0]).c_str());
  app.out.print(kBash);
  return 0;
}

}  // namespace

std::span<const Command> completion_commands() {
  static constexpr Command kCommands[] = {
      {.names = "completion",
       .usage = "SHELL",
       .summary = "Print the completion script for a shell: bash",
       .min_args = 1,
       .max_args = 1,
       .function = completion,
       .details = "Print the completion script for a shell: bash\n\n"
                  "In this shell: source <(caisson completion bash)\n"
                  "In all: caisson completion bash > /etc/bash_completion.d/caisson"},
      {.names = "__complete",
       .usage = "[WORD...]",
       .summary = "Possible ends of the last word, one in a line",
       .max_args = -1,
       .interspersed = false,
       .function = complete,
       .hidden = true},
  };
  return kCommands;
}

}  // namespace caisson::cli
