#include "record.hpp"

#include <algorithm>
#include <set>

namespace poolfold {
namespace {

const char* kind(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::boolean:
      return "bool";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return "int";
    case Json::value_t::number_float:
      return "float";
    case Json::value_t::string:
      return "str";
    case Json::value_t::array:
      return "array";
    default:
      return "object";
  }
}

std::string at(const std::string& place) { return place == "$" ? "" : " - at `" + place + "`"; }

void expect(const Value& value, bool right, const std::string& expected) {
  if (!right)
    throw Malformed("Expected `" + expected + "`, got `" + kind(value.json) + "`" + at(value.place));
}

void each_item(const Value& value, const std::function<void(const Value&, const std::string&)>& read) {
  expect(value, value.json.is_object(), "object");
  for (const auto& [key, item] : value.json.items()) read({item, value.place + "[...]"}, key);
}

}  // namespace

void read_object(const Value& value, std::initializer_list<Field> fields, bool nullable) {
  expect(value, value.json.is_object(), nullable ? "object | null" : "object");
  std::set<std::string> seen;
  for (const auto& [key, item] : value.json.items()) {
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == key; });
    if (field == fields.end())
      throw Malformed("Object contains unknown field `" + key + "`" + at(value.place));
    field->read({item, value.place + "." + key});
    seen.insert(key);
  }
  for (const Field& field : fields)
    if (field.required && seen.count(field.name) == 0)
      throw Malformed(std::string("Object missing required field `") + field.name + "`" + at(value.place));
}

void an_int(const Value& value) { expect(value, value.json.is_number_integer(), "int"); }
void an_optional_int(const Value& value) {
  expect(value, value.json.is_null() || value.json.is_number_integer(), "int | null");
}
void a_number(const Value& value) { expect(value, value.json.is_number(), "float"); }
void an_optional_number(const Value& value) {
  expect(value, value.json.is_null() || value.json.is_number(), "float | null");
}
void a_string(const Value& value) { expect(value, value.json.is_string(), "str"); }
void an_optional_string(const Value& value) {
  expect(value, value.json.is_null() || value.json.is_string(), "str | null");
}
void a_bool(const Value& value) { expect(value, value.json.is_boolean(), "bool"); }
void any_object(const Value& value) { expect(value, value.json.is_object(), "object"); }
void strings(const Value& value) { each(value, a_string); }
void ints(const Value& value) { each(value, an_int); }
void strings_by_name(const Value& value) { each_by_name(value, a_string); }
void ints_by_name(const Value& value) { each_by_name(value, an_int); }

void each_by_name(const Value& value, const std::function<void(const Value&)>& read) {
  each_item(value, [&](const Value& item, const std::string&) { read(item); });
}

void each(const Value& value, const std::function<void(const Value&)>& read) {
  expect(value, value.json.is_array(), "array");
  std::size_t index = 0;
  for (const Json& item : value.json) read({item, value.place + "[" + std::to_string(index++) + "]"});
}

std::function<void(const Value&)> into(std::int64_t& target) {
  return [&target](const Value& value) {
    an_int(value);
    target = value.json.get<std::int64_t>();
  };
}

std::function<void(const Value&)> into(double& target) {
  return [&target](const Value& value) {
    a_number(value);
    target = value.json.get<double>();
  };
}

std::function<void(const Value&)> into(bool& target) {
  return [&target](const Value& value) {
    a_bool(value);
    target = value.json.get<bool>();
  };
}

std::function<void(const Value&)> into(std::string& target) {
  return [&target](const Value& value) {
    a_string(value);
    target = value.json.get<std::string>();
  };
}

std::function<void(const Value&)> into(std::optional<std::string>& target) {
  return [&target](const Value& value) {
    an_optional_string(value);
    if (!value.json.is_null()) target = value.json.get<std::string>();
  };
}

std::function<void(const Value&)> into(std::vector<std::string>& target) {
  return [&target](const Value& value) {
    each(value, [&](const Value& item) { into(target.emplace_back())(item); });
  };
}

std::function<void(const Value&)> into(std::vector<std::int64_t>& target) {
  return [&target](const Value& value) {
    each(value, [&](const Value& item) { into(target.emplace_back())(item); });
  };
}

std::function<void(const Value&)> into(std::map<std::string, double>& target) {
  return [&target](const Value& value) {
    each_item(value, [&](const Value& item, const std::string& key) { into(target[key])(item); });
  };
}

std::function<void(const Value&)> into(std::map<std::string, std::string>& target) {
  return [&target](const Value& value) {
    each_item(value, [&](const Value& item, const std::string& key) { into(target[key])(item); });
  };
}

}  // namespace poolfold
