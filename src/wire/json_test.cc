// SPDX-License-Identifier: Apache-2.0
#include "wire/json.h"

#include <doctest/doctest.h>

#include <limits>

using namespace caisson;

namespace wire_test {

struct Binding {
  std::string host_ip, host_port;
  bool operator==(const Binding&) const = default;
};

// Docker's string-or-list.
struct StringOrList {
  std::vector<std::string> items;
  Result<> read_json(json::Reader& reader) {
    items.clear();
    if (reader.peek() == json::ValueType::kString) {
      items.push_back(TRY(reader.read_string()));
      return {};
    }
    return reader.read(items);
  }
  void write_json(json::Writer& writer) const { writer.write(items); }
  bool json_empty() const { return items.empty(); }
};

struct Picky {
  int value = 0;
  Result<> read_json(json::Reader& reader) {
    value = static_cast<int>(TRY(reader.read_int()));
    if (value > 9) return fail(ErrorKind::kInvalid, "%d is more than 9", value);
    return {};
  }
  void write_json(json::Writer& writer) const { writer.int_number(value); }
};

struct Base {
  int64_t memory = 0;
};

struct Host : Base {
  std::map<std::string, std::vector<std::optional<Binding>>> ports;
  std::map<std::string, json::Empty> exposed;
  StringOrList command;
  Picky picky;
};

struct Document {
  bool flag = false;
  int8_t tiny = 0;
  uint16_t port = 0;
  uint64_t big = 0;
  double ratio = 0;
  std::string name;
  std::vector<int> numbers;
  std::map<std::string, std::optional<std::string>> options;
  std::optional<int> maybe;
  std::optional<Host> host;
  json::Raw raw;
  std::vector<Document> children;
};

CAISSON_JSON(Host, CAISSON_FIELD_OMIT("Memory", memory), CAISSON_FIELD_NULL("Ports", ports),
             CAISSON_FIELD_OMIT("Exposed", exposed), CAISSON_FIELD_NULL("Cmd", command),
             CAISSON_FIELD_OMIT("Picky", picky))
CAISSON_JSON(Document, CAISSON_FIELD_OMIT("Flag", flag), CAISSON_FIELD_OMIT("Tiny", tiny),
             CAISSON_FIELD_OMIT("Port", port), CAISSON_FIELD_OMIT("Big", big), CAISSON_FIELD_OMIT("Ratio", ratio),
             CAISSON_FIELD("Name", name), CAISSON_FIELD_OMIT("Numbers", numbers),
             CAISSON_FIELD_OMIT("Options", options), CAISSON_FIELD_OMIT("Maybe", maybe),
             CAISSON_FIELD_OMIT("HostConfig", host), CAISSON_FIELD_OMIT("Raw", raw),
             CAISSON_FIELD_OMIT("Children", children))

struct Forms {
  std::vector<int> empty_list, null_list;
  std::map<std::string, int> empty_map;
  std::optional<Binding> nothing;
  json::Raw raw;
  json::Empty object;
};
CAISSON_JSON(Forms, CAISSON_FIELD("A", empty_list), CAISSON_FIELD_NULL("B", null_list), CAISSON_FIELD("C", empty_map),
             CAISSON_FIELD("D", nothing), CAISSON_FIELD("E", raw), CAISSON_FIELD("F", object))

struct Cased {
  int lower = 0, upper = 0;
};
CAISSON_JSON(Cased, CAISSON_FIELD("name", lower), CAISSON_FIELD("NAME", upper))

}  // namespace wire_test

namespace caisson {
// A table at namespace scope of caisson serves a type of any namespace.
CAISSON_JSON(wire_test::Binding, CAISSON_FIELD("HostIp", host_ip), CAISSON_FIELD("HostPort", host_port))
}  // namespace caisson

using namespace wire_test;

namespace {

Document good(std::string_view text) {
  auto result = json::decode<Document>(text);
  REQUIRE_MESSAGE(result, (result ? "" : result.error().message));
  return std::move(*result);
}

std::string bad(std::string_view text, json::Limits limits = {}) {
  auto result = json::decode<Document>(text, limits);
  return result ? "accepted" : result.error().message;
}

std::string string_of(std::string_view text) { return good("{\"Name\":\"" + std::string(text) + "\"}").name; }

}  // namespace

TEST_CASE("json goes both ways") {
  std::string text =
      R"({"Flag":true,"Tiny":-128,"Port":65535,"Big":18446744073709551615,"Ratio":0.5,"Name":"n","Numbers":[1,-2,3],)"
      R"("Options":{"a":null,"b":"c"},"Maybe":0,"HostConfig":{"Memory":9223372036854775807,"Ports":{"80/tcp":[{"HostIp":"","HostPort":"8"},null]},)"
      R"("Exposed":{"80/tcp":{}},"Cmd":["sh"],"Picky":3},"Raw":{"x":[1,2]},"Children":[{"Name":"c"}]})";
  Document document = good(text);
  CHECK(document.tiny == -128);
  CHECK(document.big == std::numeric_limits<uint64_t>::max());
  CHECK(document.options.at("a") == std::nullopt);
  CHECK(document.options.at("b") == "c");
  CHECK(document.host->ports.at("80/tcp")[0] == Binding{"", "8"});
  CHECK_FALSE(document.host->ports.at("80/tcp")[1]);
  CHECK(json::encode(document) == text);
}

TEST_CASE("json writes empty values as the field says") {
  CHECK(json::encode(Forms{}) == R"({"A":[],"B":null,"C":{},"D":null,"E":null,"F":{}})");
  CHECK(json::encode(Document{}) == R"({"Name":""})");
  CHECK(json::encode(Host{}) == R"({"Ports":null,"Cmd":null,"Picky":0})");
  CHECK(json::encode(std::vector<std::optional<int>>{1, std::nullopt}) == "[1,null]");
  CHECK(json::encode(std::map<std::string, json::Raw>{{"k", {"[1]"}}, {"n", {}}}) == R"({"k":[1],"n":null})");
}

TEST_CASE("json decodes like Go: case, nulls, unknown and repeated fields") {
  CHECK(good(R"({"name":"x","FLAG":true})").name == "x");
  auto cased = json::decode<Cased>(R"({"NAME":1,"name":2,"Name":3})");
  CHECK(cased->upper == 1);
  CHECK(cased->lower == 3);
  CHECK(good(R"({"Unknown":{"a":[{"b":"}"}]},"Name":"x","Other":-1.5e3})").name == "x");
  CHECK(good(R"({"Name":"x","Name":"y"})").name == "y");
  Document document =
      good(R"({"Name":null,"Numbers":null,"Maybe":null,"HostConfig":null,"Raw":null,"Flag":null,"Children":[null]})");
  CHECK(document.children.size() == 1);
  CHECK(document.raw.text.empty());
  CHECK(good(" \n\t\r{ \"Name\" : \"x\" , \"Numbers\" : [ 1 , 2 ] } \n").numbers.size() == 2);
  CHECK(good(R"({"HostConfig":{"Cmd":"top"}})").host->command.items == std::vector<std::string>{"top"});
  CHECK(good(R"({"Raw": [1, {"a" : null}] })").raw.text == R"([1, {"a" : null}])");
  CHECK(good("null").name.empty());
}

TEST_CASE("json decode_into keeps what is set") {
  Document document = good(R"({"Name":"n","Numbers":[1,2],"Options":{"a":"1"},"Maybe":1,"HostConfig":{"Memory":5}})");
  REQUIRE(json::decode_into(R"({"Numbers":[3],"Options":{"b":"2"},"Maybe":null,"HostConfig":{"Cmd":"x"}})", document));
  CHECK(document.name == "n");
  CHECK(document.numbers == std::vector<int>{3});
  CHECK(document.options.size() == 2);
  CHECK_FALSE(document.maybe);
  CHECK(document.host->memory == 5);
  CHECK(document.host->command.items.size() == 1);
}

TEST_CASE("json errors name the field") {
  CHECK(bad(R"({"HostConfig":{"Memory":"1g"}})") == "json: field 'HostConfig.Memory': expected a number, got a string");
  CHECK(bad(R"({"Numbers":[1,true]})") == "json: field 'Numbers[1]': expected a number, got a boolean");
  CHECK(bad(R"({"HostConfig":{"Ports":{"80/tcp":[{"HostIp":[]}]}}})") ==
        "json: field 'HostConfig.Ports.80/tcp[0].HostIp': expected a string, got an array");
  CHECK(bad(R"({"Options":{"k":{}}})") == "json: field 'Options.k': expected a string, got an object");
  CHECK(bad(R"({"HostConfig":{"Picky":10}})") == "json: field 'HostConfig.Picky': 10 is more than 9");
  CHECK(bad(R"({"HostConfig":{"Picky":"x"}})") == "json: field 'HostConfig.Picky': expected a number, got a string");
  CHECK(bad(R"({"HostConfig":{"Cmd":[1]}})") == "json: field 'HostConfig.Cmd[0]': expected a string, got a number");
  CHECK(bad("[]") == "json: expected an object, got an array");
  CHECK(bad("") == "json: unexpected end at offset 0");
  CHECK(bad("{} {}") == "json: unexpected text behind the value at offset 3");
  auto kind = json::decode<Document>("3");
  CHECK(kind.error().kind == ErrorKind::kInvalid);
}

TEST_CASE("json numbers are checked") {
  CHECK(good(R"({"Tiny":1e2})").tiny == 100);
  CHECK(good(R"({"Port":80.0})").port == 80);
  CHECK(bad(R"({"Port":80.5})").contains("expected an integer, got 80.5"));
  CHECK(bad(R"({"Tiny":128})").contains("out of range"));
  CHECK(bad(R"({"Tiny":-129})").contains("out of range"));
  CHECK(bad(R"({"Port":-1})").contains("out of range"));
  CHECK(bad(R"({"Port":65536})").contains("out of range"));
  CHECK(bad(R"({"Big":18446744073709551616})").contains("out of range"));
  CHECK(bad(R"({"Big":1e300})").contains("out of range"));
  CHECK(bad(R"({"Ratio":1e999})").contains("out of range"));
  CHECK(good(R"({"Ratio":-1.25e-3})").ratio == -1.25e-3);
  for (const char* text : {"01", "1.", ".5", "-", "+1", "1e", "0x1", "--1", "1e+", "NaN", "Infinity"})
    CHECK_MESSAGE(bad(std::string("{\"Ratio\":") + text + "}").starts_with("json:"), text);
  auto written = [](double value) { return json::encode(value); };
  CHECK(written(0) == "0");
  CHECK(written(1) == "1");
  CHECK(written(0.1) == "0.1");
  CHECK(written(1e20) == "100000000000000000000");
  CHECK(written(1e21) == "1e+21");
  CHECK(written(1e-7) == "1e-7");
  CHECK(written(-2.5e-10) == "-2.5e-10");
  CHECK(written(std::numeric_limits<double>::infinity()) == "null");
}

TEST_CASE("json strings: escapes, surrogates, broken UTF-8") {
  CHECK(string_of(R"(\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC)") == "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac");
  CHECK(string_of(R"(\ud83d\ude00)") == "\xf0\x9f\x98\x80");
  CHECK(string_of(R"(\ud83dx)") == "\xef\xbf\xbdx");
  CHECK(string_of(R"(\ude00\ud83d\u0041)") ==
        "\xef\xbf\xbd\xef\xbf\xbd"
        "A");
  CHECK(string_of("a\xff"
                  "b\xc0\x80") ==
        "a\xef\xbf\xbd"
        "b\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(string_of("plain text that is longer than eight \xe2\x82\xac bytes") ==
        "plain text that is longer than eight \xe2\x82\xac bytes");
  CHECK(string_of(R"(\u0000)") == std::string(1, '\0'));
  for (const char* text : {"\x01", "\n", R"(\x)", R"(\u12)", R"(\u12g4)", R"(\u+123)", "\\"})
    CHECK(bad("{\"Name\":\"" + std::string(text) + "\"}").starts_with("json: field 'Name'"));
  CHECK(bad("{\"Name\":\"x").contains("unexpected end"));
  CHECK(json::quote("a\"\\\b\f\n\r\t\x01\x7f<>&\xc3\xa9\xff\xe2\x80\xa8") ==
        "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7f<>&\xc3\xa9\\ufffd\\u2028\"");
}

TEST_CASE("json refuses what is not JSON") {
  for (const char* text :
       {"{", "}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{\"a\":1 \"b\":2}", "{a:1}", "{'a':1}", "[1,]", "[,1]",
        "[1 2]", "{\"a\":[}", "{\"a\":tru}", "{\"a\":truex}", "{\"a\":nul}", "nulll", "{\"a\":[1}}", "{\"a\":{]}"}) {
    CHECK_MESSAGE(bad(text).starts_with("json:"), text);
    auto raw = json::decode<json::Raw>(text);
    CHECK_MESSAGE(!raw, text);
  }
}

TEST_CASE("json limits depth and elements") {
  std::string deep = std::string(200, '[') + std::string(200, ']');
  CHECK(bad("{\"Unknown\":" + deep + "}").contains("nested too deeply"));
  CHECK(bad("{\"Unknown\":" + deep + "}", {.max_depth = 300}) == "accepted");
  std::string children;
  for (int i = 0; i < 200; ++i) children += "{\"Children\":[";
  CHECK(bad(children).contains("nested too deeply"));
  auto many =
      json::decode<Document>(R"({"Children":[{},{},{},{},{},{},{},{}]})", {.max_element_bytes = 5 * sizeof(Document)});
  REQUIRE_FALSE(many);
  CHECK(many.error().kind == ErrorKind::kExhausted);
}

TEST_CASE("json pull reader and writer") {
  json::Reader reader(R"({"a":[1,"x",null,true,2.5],"b":{},"c":{"d":[]}})");
  std::string_view key;
  REQUIRE(reader.begin_object());
  REQUIRE(*reader.next_key(key));
  CHECK(key == "a");
  REQUIRE(reader.begin_array());
  CHECK((*reader.next_element() && *reader.read_int() == 1));
  CHECK((*reader.next_element() && *reader.read_string() == "x"));
  CHECK((*reader.next_element() && reader.read_null()));
  CHECK((*reader.next_element() && *reader.read_bool()));
  CHECK((*reader.next_element() && *reader.read_double() == 2.5));
  CHECK_FALSE(*reader.next_element());
  CHECK((*reader.next_key(key) && key == "b" && reader.peek() == json::ValueType::kObject && reader.skip_value()));
  CHECK((*reader.next_key(key) && *reader.raw_value() == "{\"d\":[]}"));
  CHECK_FALSE(*reader.next_key(key));
  CHECK(reader.finish());
  CHECK_FALSE(reader.read_int());
  CHECK_FALSE(reader.finish());

  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  writer.key("a");
  writer.begin_array();
  writer.int_number(-1);
  writer.null();
  writer.begin_object();
  writer.end_object();
  writer.end_array();
  writer.key("b");
  writer.write(Binding{"i", "p"});
  writer.end_object();
  CHECK(out == R"({"a":[-1,null,{}],"b":{"HostIp":"i","HostPort":"p"}})");
}

TEST_CASE("json indent") {
  CHECK(*json::indent(R"([{"a":1,"b":[],"c":{ },"d":[1,"x,{}:\""]}])", "    ") ==
        "[\n    {\n        \"a\": 1,\n        \"b\": [],\n        \"c\": {},\n        \"d\": [\n            1,\n       "
        "     \"x,{}:\\\"\"\n        ]\n    }\n]");
  CHECK(*json::indent("3", " ") == "3");
  CHECK_FALSE(json::indent("[1", " "));
}
