// SPDX-License-Identifier: Apache-2.0
// JSON: a pull reader and a writer over plain text, and field tables that map structs both ways.
// Unknown fields are skipped; wrong types are errors that name the field.
//
// A struct gets its table next to its definition, in the struct's own namespace or in namespace caisson
// (for a struct inside a class: after the class, `CAISSON_JSON(Outer::Inner, ...)`):
//
//   struct PortBinding { std::string host_ip, host_port; };
//   CAISSON_JSON(PortBinding, CAISSON_FIELD("HostIp", host_ip), CAISSON_FIELD("HostPort", host_port))
//
// and then json::decode<PortBinding>(text), json::encode(binding). Members may be bool, the integer
// types, double, std::string, std::vector<T>, std::map<std::string, T>, std::optional<T> (absent or
// null), json::Raw (any value, kept as text), json::Empty ({}) and structs with a table of their own,
// nested freely; members inherited from a base are named like own ones.
// CAISSON_FIELD always writes the field (an empty vector as [], an empty map as {});
// CAISSON_FIELD_OMIT leaves it out when it is false, 0, "", empty or nullopt (a struct never is);
// CAISSON_FIELD_NULL writes null where it is an empty vector, map or optional (Go's nil).
//
// Decoding follows Go: an exact field name wins over one that differs in case, the last of two equal
// fields wins, null empties a vector, map, optional or Raw and leaves anything else as it was.
// A type with other needs has the members `Result<> read_json(json::Reader&)` (not called for null),
// `void write_json(json::Writer&) const` and, for _OMIT and _NULL, `bool json_empty() const`, and no table.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace caisson {
struct JsonTag {};  // makes tables at namespace scope of caisson visible for types of inner namespaces
}  // namespace caisson

namespace caisson::json {

// Any JSON value as its text; empty means absent or null (written as null).
struct Raw {
  std::string text;
  bool operator==(const Raw&) const = default;
};

// An object whose fields do not matter: Go's struct{}.
struct Empty {
  bool operator==(const Empty&) const = default;
};

struct Limits {
  size_t max_depth = 128;
  // What the elements of vectors and maps may take, sizeof by sizeof: a short text can name many.
  size_t max_element_bytes = 256 << 20;
};

enum class ValueType : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject, kNone };

class Writer;
namespace detail {
class Mapper;
struct Type;
void write(Writer& writer, const Type& type, const void* object);
}  // namespace detail

// Reads one document from front to back. The text must outlive the reader. After an error every
// further call fails with the same one.
class Reader {
 public:
  explicit Reader(std::string_view text, Limits limits = {})
      : cursor_(text.data()), end_(cursor_ + text.size()), begin_(cursor_), limits_(limits) {}

  ValueType peek();  // kNone at the end and where no value starts
  Result<bool> read_bool();
  Result<int64_t> read_int();
  Result<uint64_t> read_uint();
  Result<double> read_double();
  Result<std::string> read_string();
  Result<> read_null();

  // begin_object, then next_key() until false; behind each true exactly one value is read or skipped.
  Result<> begin_object();
  Result<bool> next_key(std::string_view& key);  // valid until the next call of next_key
  Result<> begin_array();
  Result<bool> next_element();

  Result<> skip_value();
  Result<std::string_view> raw_value();  // the value's text, checked
  template <class T>
  Result<> read(T& value);  // anything a member may be
  Result<> finish();        // nothing but white space may follow

 private:
  friend class detail::Mapper;
  Result<> outcome(bool good) const;
  std::unexpected<Error> failure() const;
  bool syntax(const char* what);
  bool mismatch(const char* wanted);
  bool fault(Error error);
  void skip_space();
  bool literal(std::string_view word);
  bool scan_bool(bool& value);
  bool scan_number(std::string_view& text);
  bool scan_int(int64_t& value, int64_t low, int64_t high);
  bool scan_uint(uint64_t& value, uint64_t high);
  bool scan_double(double& value);
  // A view of the text itself, or of `buffer` where there were escapes or broken UTF-8.
  bool scan_string(std::string_view& value, std::string& buffer);
  bool unescape(const char* from, std::string& buffer);
  bool scan_escape(std::string& buffer);
  bool scan_hex4(uint32_t& value);
  bool scan_key(std::string_view& key);
  bool open(char bracket, const char* wanted);
  bool more(char bracket, bool& is_more);
  bool skip();

  const char* cursor_;
  const char* end_;
  const char* begin_;
  Limits limits_;
  size_t depth_ = 0;
  size_t element_bytes_ = 0;
  bool fresh_ = false;  // right behind an opening bracket: no comma due
  bool failed_ = false;
  Error error_;       // without the path
  std::string path_;  // of the field that was wrong, filled on the way out
  std::string key_buffer_;
};

// Appends one document to a string. Commas are its own affair; calls must be balanced.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }
  void key(std::string_view name);
  void string(std::string_view value);  // broken UTF-8 becomes U+FFFD
  void int_number(int64_t value);
  void uint_number(uint64_t value);
  void double_number(double value);  // the shortest exact form; null if not finite
  void boolean(bool value);
  void null() { raw("null"); }
  void raw(std::string_view value);  // must be one JSON value; "" is null
  template <class T>
  void write(const T& value);

 private:
  void open(char bracket);
  void close(char bracket);
  friend void detail::write(Writer& writer, const detail::Type& type, const void* object);
  void separate();
  void plain_key(std::string_view name);  // has nothing to escape
  std::string& out_;
  bool comma_ = false;
};

// `text` as a JSON string, quotes included.
std::string quote(std::string_view text);
// The same document over several lines, "key": value, each level indented by `unit`; {} and [] stay
// on one line. White space of the input does not matter.
Result<std::string> indent(std::string_view text, std::string_view unit);

namespace detail {

enum class Kind : uint8_t { kBool, kInt, kUint, kDouble, kString, kRaw, kVector, kMap, kOptional, kStruct, kCustom };
enum Flags : uint8_t { kAlways, kOmit, kNull };

struct Type;
struct Field {
  std::string_view name;
  Flags flags = kAlways;
  void* (*at)(void* object) = nullptr;
  const Type* type = nullptr;
};

using Visit = void (*)(void* context, const std::string* key, const void* element);

// Everything the one interpreter in json.cc must know of a C++ type: templates make data, not code.
struct Type {
  Kind kind;
  size_t size = 0;
  const Type* element = nullptr;
  // vector: a new last element; map: the element of that key; optional: its value, made if absent.
  void* (*add)(void* container, std::string_view key) = nullptr;
  void (*clear)(void* container) = nullptr;
  size_t (*count)(const void* container) = nullptr;
  void (*visit)(const void* container, void* context, Visit visitor) = nullptr;
  std::span<const Field> (*fields)() = nullptr;
  Result<> (*read)(void* object, Reader& reader) = nullptr;
  void (*write)(const void* object, Writer& writer) = nullptr;
  bool (*empty)(const void* object) = nullptr;
};

template <class T>
struct Traits;
template <class T>
inline constexpr Type kType = Traits<std::remove_cv_t<T>>::make();

template <class T>
std::span<const Field> table_of() {
  return caisson_json_table(std::type_identity<T>{}, JsonTag{});
}

template <class T>
struct Traits {
  static constexpr Type make() {
    if constexpr (std::is_same_v<T, bool>) {
      return {.kind = Kind::kBool, .size = sizeof(T)};
    } else if constexpr (std::is_integral_v<T>) {
      return {.kind = std::is_signed_v<T> ? Kind::kInt : Kind::kUint, .size = sizeof(T)};
    } else if constexpr (std::is_same_v<T, double>) {
      return {.kind = Kind::kDouble, .size = sizeof(T)};
    } else if constexpr (requires(T & object, Reader & reader) { object.read_json(reader); }) {
      Type type{.kind = Kind::kCustom, .size = sizeof(T)};
      type.read = [](void* object, Reader& reader) -> Result<> { return static_cast<T*>(object)->read_json(reader); };
      type.write = [](const void* object, Writer& writer) { static_cast<const T*>(object)->write_json(writer); };
      if constexpr (requires(const T& object) { object.json_empty(); })
        type.empty = [](const void* object) -> bool { return static_cast<const T*>(object)->json_empty(); };
      return type;
    } else {
      static_assert(std::is_class_v<T>, "this type has no JSON form");
      return {.kind = Kind::kStruct, .size = sizeof(T), .fields = &table_of<T>};
    }
  }
};

template <>
struct Traits<std::string> {
  static constexpr Type make() { return {.kind = Kind::kString, .size = sizeof(std::string)}; }
};
template <>
struct Traits<Raw> {
  static constexpr Type make() { return {.kind = Kind::kRaw, .size = sizeof(Raw)}; }
};

template <class T, class A>
struct Traits<std::vector<T, A>> {
  static_assert(!std::is_same_v<T, bool>, "std::vector<bool> has no addressable elements");
  using Vector = std::vector<T, A>;
  static constexpr Type make() {
    Type type{.kind = Kind::kVector, .size = sizeof(Vector), .element = &kType<T>};
    type.add = [](void* vector, std::string_view) -> void* { return &static_cast<Vector*>(vector)->emplace_back(); };
    type.clear = [](void* vector) { static_cast<Vector*>(vector)->clear(); };
    type.count = [](const void* vector) { return static_cast<const Vector*>(vector)->size(); };
    type.visit = [](const void* vector, void* context, Visit visitor) {
      for (const T& element : *static_cast<const Vector*>(vector)) visitor(context, nullptr, &element);
    };
    return type;
  }
};

template <class T, class C, class A>
struct Traits<std::map<std::string, T, C, A>> {
  using Map = std::map<std::string, T, C, A>;
  static constexpr Type make() {
    Type type{.kind = Kind::kMap, .size = sizeof(Map), .element = &kType<T>};
    type.add = [](void* map, std::string_view key) -> void* {
      return &static_cast<Map*>(map)->try_emplace(std::string(key)).first->second;
    };
    type.clear = [](void* map) { static_cast<Map*>(map)->clear(); };
    type.count = [](const void* map) { return static_cast<const Map*>(map)->size(); };
    type.visit = [](const void* map, void* context, Visit visitor) {
      for (const auto& [key, element] : *static_cast<const Map*>(map)) visitor(context, &key, &element);
    };
    return type;
  }
};

template <class T>
struct Traits<std::optional<T>> {
  using Optional = std::optional<T>;
  static constexpr Type make() {
    Type type{.kind = Kind::kOptional, .size = sizeof(Optional), .element = &kType<T>};
    type.add = [](void* object, std::string_view) -> void* {
      auto& optional = *static_cast<Optional*>(object);
      return optional ? &*optional : &optional.emplace();
    };
    type.clear = [](void* object) { static_cast<Optional*>(object)->reset(); };
    type.count = [](const void* object) -> size_t { return static_cast<const Optional*>(object)->has_value(); };
    type.visit = [](const void* object, void* context, Visit visitor) {
      visitor(context, nullptr, &**static_cast<const Optional*>(object));
    };
    return type;
  }
};

template <class Self, auto Member>
constexpr Field make_field(std::string_view name, Flags flags) {
  using Value = std::remove_cvref_t<decltype(std::declval<Self&>().*Member)>;
  return {name, flags, [](void* object) -> void* { return &(static_cast<Self*>(object)->*Member); }, &kType<Value>};
}

Result<> decode(std::string_view text, const Type& type, void* object, const Limits& limits);
Result<> read(Reader& reader, const Type& type, void* object);

}  // namespace detail

template <class T>
Result<> decode_into(std::string_view text, T& value, Limits limits = {}) {
  return detail::decode(text, detail::kType<T>, &value, limits);
}

template <class T>
Result<T> decode(std::string_view text, Limits limits = {}) {
  Result<T> value{};
  if (auto done = detail::decode(text, detail::kType<T>, &*value, limits); !done)
    return std::unexpected(std::move(done).error());
  return value;
}

template <class T>
std::string encode(const T& value) {
  std::string text;
  Writer writer(text);
  detail::write(writer, detail::kType<T>, &value);
  return text;
}

template <class T>
Result<> Reader::read(T& value) {
  return detail::read(*this, detail::kType<T>, &value);
}

template <class T>
void Writer::write(const T& value) {
  detail::write(*this, detail::kType<T>, &value);
}

}  // namespace caisson::json

#define CAISSON_JSON(Struct, ...)                                                             \
  [[maybe_unused]] inline std::span<const ::caisson::json::detail::Field> caisson_json_table( \
      std::type_identity<Struct>, ::caisson::JsonTag) {                                       \
    using CaissonSelf [[maybe_unused]] = Struct;                                              \
    static constexpr ::caisson::json::detail::Field kTable[] = {                              \
        __VA_ARGS__ __VA_OPT__(, )::caisson::json::detail::Field{}};                          \
    return std::span(kTable).first(std::size(kTable) - 1);                                    \
  }
#define CAISSON_FIELD(name, member) \
  ::caisson::json::detail::make_field<CaissonSelf, &CaissonSelf::member>(name, ::caisson::json::detail::kAlways)
#define CAISSON_FIELD_OMIT(name, member) \
  ::caisson::json::detail::make_field<CaissonSelf, &CaissonSelf::member>(name, ::caisson::json::detail::kOmit)
#define CAISSON_FIELD_NULL(name, member) \
  ::caisson::json::detail::make_field<CaissonSelf, &CaissonSelf::member>(name, ::caisson::json::detail::kNull)

namespace caisson::json {
CAISSON_JSON(Empty)
}
