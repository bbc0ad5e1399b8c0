// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/text.h"
#include "cli/template_syntax.h"
#include "cli/units.h"

namespace caisson::cli {

namespace {

constexpr int kMaxNesting = 64;

struct Token {
  enum class Kind : uint8_t { kField, kDot, kVariable, kWord, kString, kNumber, kPunct, kSpace, kEnd };
  Kind kind = Kind::kEnd;
  std::string text;
  size_t column = 0;
};

bool word_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::vector<TemplateNode>> whole() {
    std::vector<TemplateNode> nodes;
    std::string stop = TRY(nodes_until(nodes, 0));
    if (!stop.empty()) return error("unexpected {{" + stop + "}}");
    return nodes;
  }

 private:
  std::unexpected<Error> error(const std::string& what) {
    return fail(ErrorKind::kInvalid, "template: :%zu: %s", line_, what.c_str());
  }

  // Reads nodes up to {{end}}, {{else ...}} or the end of the text; tells which.
  Result<std::string> nodes_until(std::vector<TemplateNode>& out, int depth) {
    if (depth > kMaxNesting) return error("nested too deep");
    while (at_ < text_.size()) {
      size_t open = text_.find("{{", at_);
      if (open == text_.npos) open = text_.size();
      std::string plain(text_.substr(at_, open - at_));
      if (trim_next_) {
        size_t first = plain.find_first_not_of(" \t\r\n");
        plain.erase(0, std::min(first, plain.size()));
        trim_next_ = false;
      }
      line_ += static_cast<size_t>(
          std::count(text_.begin() + static_cast<long>(at_), text_.begin() + static_cast<long>(open), '\n'));
      at_ = open;
      bool trims = text_.substr(open).starts_with("{{-") && open + 3 < text_.size() && isspace_(text_[open + 3]);
      if (trims) plain.erase(plain.find_last_not_of(" \t\r\n") + 1);
      if (!plain.empty()) out.push_back({.kind = TemplateNode::Kind::kText, .text = plain, .line = line_});
      if (at_ >= text_.size()) return std::string();
      at_ += trims ? 3 : 2;
      std::string stop = TRY(action(out, depth));
      if (!stop.empty()) return stop;
    }
    return std::string();
  }

  static bool isspace_(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

  Result<std::string> action(std::vector<TemplateNode>& out, int depth) {
    size_t comment = text_.find_first_not_of(" \t\r\n", at_);
    if (comment != text_.npos && text_.substr(comment).starts_with("/*")) {
      size_t end = text_.find("*/", comment + 2);
      if (end == text_.npos) return error("unclosed comment");
      at_ = end + 2;
      if (text_.substr(at_).starts_with(" -}}")) {
        trim_next_ = true;
        at_ += 4;
      } else if (text_.substr(at_).starts_with("}}")) {
        at_ += 2;
      } else {
        return error("comment ends before closing delimiter");
      }
      return std::string();
    }
    TRY(scan());
    const Token first = peek();
    if (first.kind == Token::Kind::kWord) {
      if (first.text == "end" || first.text == "else") {
        next();
        if (first.text == "end" && peek().kind != Token::Kind::kEnd)
          return error("unexpected " + shown(peek()) + " in end");
        return first.text;
      }
      if (first.text == "if" || first.text == "with" || first.text == "range") {
        next();
        TemplateNode node = TRY(control(first.text, depth));
        out.push_back(std::move(node));
        return std::string();
      }
      if (first.text == "define" || first.text == "template" || first.text == "block")
        return error("\"" + first.text + "\" is not supported");
    }
    TemplateNode node{.kind = TemplateNode::Kind::kAction, .line = line_};
    node.pipe = TRY(pipe("command", depth));
    if (peek().kind != Token::Kind::kEnd) return error("unexpected " + shown(peek()) + " in command");
    out.push_back(std::move(node));
    return std::string();
  }

  Result<TemplateNode> control(const std::string& word, int depth) {
    TemplateNode node{.line = line_};
    node.kind = word == "if"     ? TemplateNode::Kind::kIf
                : word == "with" ? TemplateNode::Kind::kWith
                                 : TemplateNode::Kind::kRange;
    node.pipe = TRY(pipe(word, depth));
    if (peek().kind != Token::Kind::kEnd) return error("unexpected " + shown(peek()) + " in " + word);
    std::string stop = TRY(nodes_until(node.body, depth + 1));
    if (stop == "else") {
      if (peek().kind == Token::Kind::kWord && (peek().text == "if" || peek().text == "with")) {
        std::string again = next().text;
        node.otherwise.push_back(TRY(control(again, depth + 1)));
        return node;  // the inner one ate {{end}}
      }
      if (peek().kind != Token::Kind::kEnd) return error("unexpected " + shown(peek()) + " in else");
      stop = TRY(nodes_until(node.otherwise, depth + 1));
    }
    if (stop != "end") return error("unexpected EOF");
    return node;
  }

  // Splits the action up to "}}" into tokens.
  Result<> scan() {
    tokens_.clear();
    next_token_ = 0;
    size_t line_start = text_.rfind('\n', at_ == 0 ? 0 : at_ - 1);
    line_start = line_start == text_.npos || line_start >= at_ ? 0 : line_start + 1;
    while (true) {
      if (at_ >= text_.size()) return error("unclosed action");
      size_t start = at_;
      char c = text_[at_];
      Token token{.column = start - line_start};
      if (text_.substr(at_).starts_with("}}")) {
        at_ += 2;
        return {};
      }
      if (isspace_(c)) {
        while (at_ < text_.size() && isspace_(text_[at_])) ++at_;
        if (text_.substr(at_).starts_with("-}}")) {
          at_ += 3;
          trim_next_ = true;
          return {};
        }
        token.kind = Token::Kind::kSpace;
      } else if (c == '.' && at_ + 1 < text_.size() && word_char(text_[at_ + 1]) &&
                 !(text_[at_ + 1] >= '0' && text_[at_ + 1] <= '9')) {
        for (++at_; at_ < text_.size() && word_char(text_[at_]);) ++at_;
        token.kind = Token::Kind::kField;
      } else if (c == '.') {
        ++at_;
        token.kind = Token::Kind::kDot;
      } else if (c == '$') {
        for (++at_; at_ < text_.size() && word_char(text_[at_]);) ++at_;
        token.kind = Token::Kind::kVariable;
      } else if (c == '"' || c == '`' || c == '\'') {
        TRY(scan_string(token));
        token.column = start - line_start;
        tokens_.push_back(std::move(token));
        continue;
      } else if ((c >= '0' && c <= '9') ||
                 ((c == '-' || c == '+') && at_ + 1 < text_.size() && text_[at_ + 1] >= '0' && text_[at_ + 1] <= '9')) {
        for (++at_; at_ < text_.size() && (word_char(text_[at_]) || text_[at_] == '.');) ++at_;
        token.kind = Token::Kind::kNumber;
      } else if (word_char(c)) {
        while (at_ < text_.size() && word_char(text_[at_])) ++at_;
        token.kind = Token::Kind::kWord;
      } else if (text_.substr(at_).starts_with(":=")) {
        at_ += 2;
        token.kind = Token::Kind::kPunct;
      } else if (c == '|' || c == '(' || c == ')' || c == ',' || c == '=') {
        ++at_;
        token.kind = Token::Kind::kPunct;
      } else {
        return error(format("unexpected %s in command", go_char(c).c_str()));
      }
      token.text = std::string(text_.substr(start, at_ - start));
      tokens_.push_back(std::move(token));
    }
  }

  static std::string go_char(char c) {
    return c == '{' || c == '}' ? format("\"%c\"", c)
                                : format("bad character U+%04X '%c'", static_cast<unsigned char>(c), c);
  }

  Result<> scan_string(Token& token) {
    char quote = text_[at_++];
    token.kind = Token::Kind::kString;
    while (true) {
      if (at_ >= text_.size() || text_[at_] == '\n') {
        if (quote == '`' && at_ < text_.size()) {
          token.text += text_[at_++];
          continue;
        }
        return error(quote == '`' ? "unterminated raw quoted string" : "unterminated quoted string");
      }
      char c = text_[at_++];
      if (c == quote) return {};
      if (c == '\\' && quote != '`' && at_ < text_.size()) {
        char escape = text_[at_++];
        static constexpr std::string_view kFrom = "ntr\\\"'abfv", kTo = "\n\t\r\\\"'\a\b\f\v";
        size_t known = kFrom.find(escape);
        if (known == kFrom.npos) return error("invalid syntax");
        c = kTo[known];
      }
      token.text += c;
    }
  }

  const Token& peek() {
    while (next_token_ < tokens_.size() && tokens_[next_token_].kind == Token::Kind::kSpace) ++next_token_;
    return next_token_ < tokens_.size() ? tokens_[next_token_] : end_;
  }
  bool at_space() const { return next_token_ >= tokens_.size() || tokens_[next_token_].kind == Token::Kind::kSpace; }
  Token next() {
    Token token = peek();
    ++next_token_;
    return token;
  }
  bool is_punct(std::string_view text) { return peek().kind == Token::Kind::kPunct && peek().text == text; }
  static std::string shown(const Token& token) {
    return token.kind == Token::Kind::kEnd ? "\"}}\"" : "<" + token.text + ">";
  }

  Result<TemplatePipe> pipe(const std::string& where, int depth) {
    TemplatePipe out;
    if (depth > kMaxNesting) return error("nested too deep");
    // Declarations: $a := ..., $i, $v := ..., $a = ...
    size_t back = next_token_;
    while (peek().kind == Token::Kind::kVariable) {
      out.declared.push_back(next().text);
      if (is_punct(",")) {
        next();
        continue;
      }
      break;
    }
    if (!out.declared.empty() && (is_punct(":=") || is_punct("="))) {
      out.assigns = next().text == "=";
    } else {
      out.declared.clear();
      next_token_ = back;
    }
    while (true) {
      TemplateCall call;
      while (peek().kind != Token::Kind::kEnd && !is_punct("|") && !is_punct(")"))
        call.operands.push_back(TRY(operand(depth)));
      if (call.operands.empty())
        return error(out.calls.empty() ? "missing value for " + where : "missing value for command");
      out.calls.push_back(std::move(call));
      if (!is_punct("|")) return out;
      next();
    }
  }

  Result<TemplateOperand> operand(int depth) {
    TemplateOperand out;
    Token token = next();
    out.column = token.column;
    out.source = token.text;
    switch (token.kind) {
      case Token::Kind::kField: out.fields.push_back(token.text.substr(1)); break;
      case Token::Kind::kDot: break;
      case Token::Kind::kVariable:
        out.kind = TemplateOperand::Kind::kVariable;
        out.name = token.text;
        break;
      case Token::Kind::kString:
        out.kind = TemplateOperand::Kind::kConstant;
        out.constant = JsonValue(token.text);
        break;
      case Token::Kind::kNumber: {
        out.kind = TemplateOperand::Kind::kConstant;
        auto integer = parse_go_int(token.text);
        out.constant = integer ? JsonValue(*integer) : JsonValue::number(token.text);
        if (!integer && !JsonValue::parse(token.text)) return error("bad number syntax: " + go_quote(token.text));
        break;
      }
      case Token::Kind::kWord:
        if (token.text == "true" || token.text == "false") {
          out.kind = TemplateOperand::Kind::kConstant;
          out.constant = JsonValue(token.text == "true");
        } else if (token.text == "nil") {
          out.kind = TemplateOperand::Kind::kNil;
        } else if (is_template_function(token.text)) {
          out.kind = TemplateOperand::Kind::kFunction;
          out.name = token.text;
        } else {
          return error("function " + go_quote(token.text) + " not defined");
        }
        break;
      case Token::Kind::kPunct:
        if (token.text == "(") {
          out.kind = TemplateOperand::Kind::kPipe;
          out.pipe.push_back(TRY(pipe("parenthesized pipeline", depth + 1)));
          if (!is_punct(")")) return error("unclosed left paren");
          next();
          break;
        }
        [[fallthrough]];
      default: return error("unexpected " + shown(token) + " in operand");
    }
    while (!at_space() && peek().kind == Token::Kind::kField) {
      out.fields.push_back(peek().text.substr(1));
      out.source += next().text;
    }
    return out;
  }

  std::string_view text_;
  size_t at_ = 0, line_ = 1, next_token_ = 0;
  bool trim_next_ = false;
  std::vector<Token> tokens_;
  const Token end_;
};

}  // namespace

Template::Template(std::unique_ptr<Syntax> syntax) : syntax_(std::move(syntax)) {}
Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Result<Template> Template::parse(std::string_view text) {
  auto syntax = std::make_unique<Syntax>();
  syntax->source = std::string(text);
  syntax->nodes = TRY(Parser(text).whole());
  return Template(std::move(syntax));
}

bool Template::mentions(std::string_view name) const {
  std::string needle = "." + std::string(name);
  for (size_t at = 0; (at = syntax_->source.find(needle, at)) != std::string::npos; ++at) {
    size_t end = at + needle.size();
    if (end >= syntax_->source.size() || !word_char(syntax_->source[end])) return true;
  }
  return false;
}

}  // namespace caisson::cli
