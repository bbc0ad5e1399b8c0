// SPDX-License-Identifier: Apache-2.0
// The one interpreter of json field tables: it reads and writes any object from its Type data.
#include <strings.h>

#include <cstring>
#include <limits>

#include "base/text.h"
#include "wire/json.h"

namespace caisson::json::detail {

namespace {

void store_int(void* object, size_t size, uint64_t value) { memcpy(object, &value, size); }  // little endian

template <class Wide>
Wide load_int(const void* object, size_t size) {
  switch (size) {
    case 1:
      return std::is_signed_v<Wide> ? Wide(*static_cast<const int8_t*>(object))
                                    : Wide(*static_cast<const uint8_t*>(object));
    case 2:
      return std::is_signed_v<Wide> ? Wide(*static_cast<const int16_t*>(object))
                                    : Wide(*static_cast<const uint16_t*>(object));
    case 4:
      return std::is_signed_v<Wide> ? Wide(*static_cast<const int32_t*>(object))
                                    : Wide(*static_cast<const uint32_t*>(object));
    default: return *static_cast<const Wide*>(object);
  }
}

// Documents usually have the fields in table order, so the search starts behind the last hit.
const Field* find_field(std::span<const Field> fields, std::string_view name, size_t& hint) {
  for (size_t i = hint; i < fields.size(); ++i)
    if (fields[i].name == name) return hint = i + 1, &fields[i];
  for (size_t i = 0; i < hint && i < fields.size(); ++i)
    if (fields[i].name == name) return hint = i + 1, &fields[i];
  for (const Field& field : fields)
    if (field.name.size() == name.size() && strncasecmp(field.name.data(), name.data(), name.size()) == 0)
      return &field;
  return nullptr;
}

bool is_empty(const Type& type, const void* object) {
  switch (type.kind) {
    case Kind::kBool: return !*static_cast<const bool*>(object);
    case Kind::kInt:
    case Kind::kUint: return load_int<uint64_t>(object, type.size) == 0;
    case Kind::kDouble: return *static_cast<const double*>(object) == 0;
    case Kind::kString: return static_cast<const std::string*>(object)->empty();
    case Kind::kRaw: return static_cast<const Raw*>(object)->text.empty();
    case Kind::kVector:
    case Kind::kMap:
    case Kind::kOptional: return type.count(object) == 0;
    case Kind::kStruct: return false;
    case Kind::kCustom: return type.empty && type.empty(object);
  }
  return false;
}

bool can_be_null(const Type& type) { return type.kind >= Kind::kRaw && type.kind != Kind::kStruct; }

}  // namespace

class Mapper {
 public:
  explicit Mapper(Reader& reader) : reader_(reader) {}

  bool read(const Type& type, void* object) {
    if (reader_.peek() == ValueType::kNull) {
      if (type.clear) type.clear(object);
      if (type.kind == Kind::kRaw) static_cast<Raw*>(object)->text.clear();
      return reader_.literal("null");
    }
    switch (type.kind) {
      case Kind::kBool: return reader_.scan_bool(*static_cast<bool*>(object));
      case Kind::kInt: {
        int64_t high = std::numeric_limits<int64_t>::max() >> (64 - 8 * type.size), value = 0;
        if (!reader_.scan_int(value, -high - 1, high)) return false;
        store_int(object, type.size, static_cast<uint64_t>(value));
        return true;
      }
      case Kind::kUint: {
        uint64_t value = 0;
        if (!reader_.scan_uint(value, std::numeric_limits<uint64_t>::max() >> (64 - 8 * type.size))) return false;
        store_int(object, type.size, value);
        return true;
      }
      case Kind::kDouble: return reader_.scan_double(*static_cast<double*>(object));
      case Kind::kString: return read_string(*static_cast<std::string*>(object));
      case Kind::kRaw: return read_raw(*static_cast<Raw*>(object));
      case Kind::kVector: return read_vector(type, object);
      case Kind::kMap: return read_map(type, object);
      case Kind::kOptional: return read(*type.element, type.add(object, {}));
      case Kind::kStruct: return read_struct(type, object);
      case Kind::kCustom: {
        Result<> done = type.read(object, reader_);
        return done || reader_.fault(std::move(done).error());
      }
    }
    return false;
  }

  std::unexpected<Error> failure() const { return reader_.failure(); }

 private:
  bool read_string(std::string& value) {
    std::string_view view;
    // With escapes the view is of `value` itself.
    if (!reader_.scan_string(view, value)) return false;
    if (view.data() != value.data()) value.assign(view);
    return true;
  }

  bool read_raw(Raw& raw) {
    const char* start = reader_.cursor_;
    if (!reader_.skip()) return false;
    raw.text.assign(start, reader_.cursor_);
    return true;
  }

  bool charge(const Type& type) {
    reader_.element_bytes_ += type.size;
    if (reader_.element_bytes_ <= reader_.limits_.max_element_bytes) return true;
    return reader_.fault({ErrorKind::kExhausted, 0, "too many elements"});
  }

  bool at_path(std::string_view step) {
    std::string& path = reader_.path_;
    bool dotted = !path.empty() && path[0] != '[';
    if (path.size() < 200) path = std::string(step) + (dotted ? "." : "") + path;
    return false;
  }

  bool read_vector(const Type& type, void* object) {
    if (!reader_.open('[', "an array")) return false;
    type.clear(object);
    for (bool is_more;;) {
      if (!reader_.more(']', is_more)) return false;
      if (!is_more) return true;
      if (!charge(*type.element)) return false;
      if (!read(*type.element, type.add(object, {}))) return at_path(format("[%zu]", type.count(object) - 1));
    }
  }

  bool read_map(const Type& type, void* object) {
    if (!reader_.open('{', "an object")) return false;
    std::string_view key;
    for (bool is_more;;) {
      if (!reader_.more('}', is_more)) return false;
      if (!is_more) return true;
      if (!reader_.scan_key(key) || !charge(*type.element)) return false;
      // The key's buffer is used again by the value.
      std::string owned;
      if (key.data() == reader_.key_buffer_.data()) key = owned = key;
      if (!read(*type.element, type.add(object, key))) return at_path(key);
    }
  }

  bool read_struct(const Type& type, void* object) {
    if (!reader_.open('{', "an object")) return false;
    std::span<const Field> fields = type.fields();
    std::string_view key;
    size_t hint = 0;
    for (bool is_more;;) {
      if (!reader_.more('}', is_more)) return false;
      if (!is_more) return true;
      if (!reader_.scan_key(key)) return false;
      const Field* field = find_field(fields, key, hint);
      if (!field) {
        if (!reader_.skip()) return false;
      } else if (!read(*field->type, field->at(object))) {
        return at_path(field->name);
      }
    }
  }

  Reader& reader_;
};

Result<> read(Reader& reader, const Type& type, void* object) {
  Mapper mapper(reader);
  if (!mapper.read(type, object)) return mapper.failure();
  return {};
}

Result<> decode(std::string_view text, const Type& type, void* object, const Limits& limits) {
  Reader reader(text, limits);
  if (auto done = read(reader, type, object); !done) return done;
  return reader.finish();
}

void write(Writer& writer, const Type& type, const void* object) {
  switch (type.kind) {
    case Kind::kBool: return writer.boolean(*static_cast<const bool*>(object));
    case Kind::kInt: return writer.int_number(load_int<int64_t>(object, type.size));
    case Kind::kUint: return writer.uint_number(load_int<uint64_t>(object, type.size));
    case Kind::kDouble: return writer.double_number(*static_cast<const double*>(object));
    case Kind::kString: return writer.string(*static_cast<const std::string*>(object));
    case Kind::kRaw: return writer.raw(static_cast<const Raw*>(object)->text);
    case Kind::kOptional:
      if (type.count(object) == 0) return writer.null();
      [[fallthrough]];
    case Kind::kVector:
    case Kind::kMap: {
      struct Context {
        Writer& writer;
        const Type& element;
      } context{writer, *type.element};
      if (type.kind == Kind::kVector) writer.begin_array();
      if (type.kind == Kind::kMap) writer.begin_object();
      type.visit(object, &context, [](void* opaque, const std::string* key, const void* element) {
        auto& inner = *static_cast<Context*>(opaque);
        if (key) inner.writer.key(*key);
        write(inner.writer, inner.element, element);
      });
      if (type.kind == Kind::kVector) writer.end_array();
      if (type.kind == Kind::kMap) writer.end_object();
      return;
    }
    case Kind::kStruct:
      writer.begin_object();
      for (const Field& field : type.fields()) {
        const void* member = field.at(const_cast<void*>(object));  // an address only
        bool empty = field.flags != kAlways && is_empty(*field.type, member);
        if (empty && field.flags == kOmit) continue;
        writer.plain_key(field.name);
        if (empty && can_be_null(*field.type))
          writer.null();
        else
          write(writer, *field.type, member);
      }
      return writer.end_object();
    case Kind::kCustom: return type.write(object, writer);
  }
}

}  // namespace caisson::json::detail
