// Reads JSON into records. An unknown key, a missing key or a wrong type is an error that names its place, worded as by
// msgspec, which reads the manifest in Python.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace poolfold {

// Keeps keys in the file's order, so that the first wrong key is reported.
using Json = nlohmann::ordered_json;

// What is wrong, and where: "Expected `int`, got `str` - at `$.model.hidden_size`".
class Malformed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A value and its place, such as "$.graphs[0]".
struct Value {
  const Json& json;
  std::string place;
};

struct Field {
  const char* name;
  std::function<void(const Value&)> read;
  bool required = true;
};

// Reads an object's fields, listed in the record's order. `nullable` changes only the expected type in a message.
void read_object(const Value& value, std::initializer_list<Field> fields, bool nullable = false);

// Field readers: check the type and store the value.
std::function<void(const Value&)> into(std::int64_t& target);
std::function<void(const Value&)> into(double& target);
std::function<void(const Value&)> into(bool& target);
std::function<void(const Value&)> into(std::string& target);
std::function<void(const Value&)> into(std::optional<std::string>& target);
std::function<void(const Value&)> into(std::vector<std::string>& target);
std::function<void(const Value&)> into(std::vector<std::int64_t>& target);
std::function<void(const Value&)> into(std::map<std::string, double>& target);
std::function<void(const Value&)> into(std::map<std::string, std::string>& target);

// Field readers that check the type and store nothing.
void an_int(const Value& value);
void an_optional_int(const Value& value);
void a_number(const Value& value);
void an_optional_number(const Value& value);
void a_string(const Value& value);
void an_optional_string(const Value& value);
void a_bool(const Value& value);
void any_object(const Value& value);
void strings(const Value& value);
void ints(const Value& value);
void strings_by_name(const Value& value);
void ints_by_name(const Value& value);

// Read every item of an array, or every value of an object.
void each(const Value& value, const std::function<void(const Value&)>& read);
void each_by_name(const Value& value, const std::function<void(const Value&)>& read);

// A vector of records, each read by `read(Value, Record&)`.
template <typename Record>
std::function<void(const Value&)> records(std::vector<Record>& target, void (*read)(const Value&, Record&)) {
  return [&target, read](const Value& value) {
    each(value, [&](const Value& item) { read(item, target.emplace_back()); });
  };
}

// One record.
template <typename Record>
std::function<void(const Value&)> record(Record& target, void (*read)(const Value&, Record&)) {
  return [&target, read](const Value& value) { read(value, target); };
}

}  // namespace poolfold
