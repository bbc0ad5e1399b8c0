// SPDX-License-Identifier: Apache-2.0
#include "cli/template.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::cli;

static std::string run(const char* text, const char* data, const char* type = "") {
  auto parsed = Template::parse(text);
  if (!parsed) return "parse: " + parsed.error().message;
  auto value = JsonValue::parse(data);
  REQUIRE(value.has_value());
  auto out = parsed->execute(*value, type);
  return out ? *out : "error: " + out.error().message;
}

static const char* const kData =
    R"({"Name":"web","Id":"abc","Host":{"NanoCpus":5},"State":{"Running":true,"ExitCode":0,"Pid":12},"Labels":{"b":"2","a":"1"},)"
    R"("Cmd":["sh","-c","x y"],"Nothing":null,"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}})";

TEST_CASE("template: results as Go gives them") {
  struct Case {
    const char* text;
    const char* want;
  };
  const Case cases[] = {
      {"plain", "plain"},
      {"{{.Name}}", "web"},
      {"{{ .State.Running }} {{.State.ExitCode}}", "true 0"},
      {"{{.Cmd}}", "[sh -c x y]"},
      {"{{.Labels}}", "map[a:1 b:2]"},
      {"{{json .Cmd}}", R"(["sh","-c","x y"])"},
      {"{{.Cmd | json}}", R"(["sh","-c","x y"])"},
      {"{{range .Cmd}}<{{.}}>{{end}}", "<sh><-c><x y>"},
      {"{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"},
      {"{{range $i, $e := .Cmd}}{{if $i}},{{end}}{{$e}}{{end}}", "sh,-c,x y"},
      {"{{if .State.Running}}up{{else}}down{{end}}", "up"},
      {"{{if not .State.Running}}up{{else if eq .Name \"web\"}}w{{else}}z{{end}}", "w"},
      {"{{with .State}}{{.Pid}}{{end}}", "12"},
      {"{{len .Cmd}}", "3"},
      {"{{index .Cmd 1}}", "-c"},
      {"{{index .Labels \"a\"}}", "1"},
      {"{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"},
      {"{{printf \"%s-%05d|%-6s|%q\" .Name .State.Pid .Name .Name}}", "web-00012|web   |\"web\""},
      {"{{upper .Name}} {{title .Name}}", "WEB Web"},
      {"{{join .Cmd \",\"}}", "sh,-c,x y"},
      {"{{range split \"a/b/c\" \"/\"}}{{println .}}{{end}}", "a\nb\nc\n"},
      {"{{and .Name .State.ExitCode}} {{or .State.ExitCode .Name}}", "0 web"},
      {"{{if and (gt .State.Pid 3) (lt .State.Pid 20)}}in{{end}}", "in"},
      {"a  {{- .Name -}}   b", "awebb"},
      {"{{/* note */}}x", "x"},
      {"{{$x := .Name}}{{$x}}", "web"},
      {"{{with $p := .State.Pid}}{{$p}}{{end}}", "12"},
      {"{{truncate .Name 2}}{{pad .Name 1 2}}|", "we web  |"},
      {"{{.Labels.a}}", "1"},
      {"{{.Host.NanoCPUs}} {{.Host.NanoCpus}} {{.ID}}", "5 5 abc"},
      {"{{range .Nothing}}x{{else}}none{{end}}", "none"},
      {"{{eq .State.ExitCode 0}} {{ne .Name \"x\"}}", "true true"},
      {"{{`raw`}}", "raw"},
      {"{{if .State.Health}}h{{else}}no{{end}}", "no"},
      {"{{slice .Name 1 2}}", "e"},
      {"{{$.Name}}", "web"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    CHECK(run(c.text, kData) == c.want);
  }
}

TEST_CASE("template: errors name place and reason") {
  CHECK(run("{{.Foo}}", kData) == "error: template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"");
  CHECK(run("{{.State.Foo}}", kData, "*x.Y").find("can't evaluate field Foo in type *x.Y") != std::string::npos);
  CHECK(run("{{.State.Health.Status}}", kData).find("map has no entry for key \"Health\"") != std::string::npos);
  CHECK(run("{{.Name", kData) == "parse: template: :1: unclosed action");
  CHECK(run("{{foo .Name}}", kData) == "parse: template: :1: function \"foo\" not defined");
  CHECK(run("{{if .Name}}", kData) == "parse: template: :1: unexpected EOF");
  CHECK(run("{{end}}", kData) == "parse: template: :1: unexpected {{end}}");
  CHECK(run("{{index .Cmd 9}}", kData).find("index out of range: 9") != std::string::npos);
  CHECK(run("{{}}", kData) == "parse: template: :1: missing value for command");
  CHECK(run("{{.Name \"x\"}}", kData).find("error:") == 0);
  CHECK(run("{{\"abc}}", kData) == "parse: template: :1: unterminated quoted string");
}

TEST_CASE("template: a method call on a map asks for the key") {
  CHECK(run("{{.Labels \"b\"}}|{{.Labels \"zz\"}}", kData) == "2|");
}

TEST_CASE("template: field mentions") {
  auto parsed = Template::parse("{{.Size}} {{.Names}}");
  REQUIRE(parsed.has_value());
  CHECK(parsed->mentions("Size"));
  CHECK(!parsed->mentions("Name"));
}
