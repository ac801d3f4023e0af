#include "external_data.hpp"

#include <charconv>
#include <map>
#include <optional>
#include <stdexcept>

#include "poolfold/errors.hpp"
#include "quote.hpp"

namespace poolfold {
namespace {

// Bytes of an element, by ONNX's number of the dtype: float32, uint8, ..., bfloat16. The others are not checked here.
const std::map<std::int64_t, std::uint64_t> kWidths = {{1, 4}, {2, 1},  {3, 1},  {4, 2},  {5, 2},  {6, 4}, {7, 8},
                                                       {9, 1}, {10, 2}, {11, 8}, {12, 4}, {13, 8}, {16, 2}};

// A Protocol Buffers message, field by field.
class Message {
 public:
  explicit Message(std::string_view bytes) : bytes_(bytes) {}

  // Reads the next field; false at the end. `text` is its value where it has a length, `number` otherwise.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const std::uint64_t tag = varint();
    field = tag >> 3;
    number = 0;
    text = {};
    has_text = (tag & 7) == 2;
    switch (tag & 7) {
      case 0:
        number = varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        text = take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        throw std::out_of_range("wire type");
    }
    return true;
  }

  bool done() const { return at_ == bytes_.size(); }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_.at(at_++));
      if (shift < 64) value |= std::uint64_t{byte & 127u} << shift;
      if (byte < 128) return value;
    }
    throw std::out_of_range("varint");
  }

  std::uint64_t field = 0;
  std::uint64_t number = 0;
  std::string_view text;
  bool has_text = false;

 private:
  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - at_) throw std::out_of_range("length");
    const std::string_view piece = bytes_.substr(at_, count);
    at_ += count;
    return piece;
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
};

std::uint64_t whole(const std::string& digits) {
  std::uint64_t value = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (code != std::errc() || end != digits.data() + digits.size()) throw std::out_of_range("number");
  return value;
}

std::optional<ExternalTensor> external(std::string_view bytes) {
  ExternalTensor tensor;
  std::map<std::string, std::string> entries;
  bool elsewhere = false;
  for (Message message(bytes); message.next();) {
    if (message.field == 1 && message.has_text)
      for (Message dims(message.text); !dims.done();) tensor.dims.push_back(static_cast<std::int64_t>(dims.varint()));
    if (message.field == 1 && !message.has_text) tensor.dims.push_back(static_cast<std::int64_t>(message.number));
    if (message.field == 2) tensor.dtype = static_cast<std::int64_t>(message.number);
    if (message.field == 8) tensor.name = message.text;
    if (message.field == 14) elsewhere = message.number == 1;
    if (message.field != 13) continue;
    std::string key, value;
    for (Message entry(message.text); entry.next();) (entry.field == 1 ? key : value) = entry.text;
    entries[key] = value;
  }
  if (!elsewhere) return std::nullopt;
  tensor.location = entries["location"];
  if (!entries["offset"].empty()) tensor.offset = whole(entries["offset"]);
  if (!entries["length"].empty()) tensor.length = whole(entries["length"]);
  return tensor;
}

}  // namespace

std::vector<ExternalTensor> external_tensors(std::string_view bytes) {
  std::vector<ExternalTensor> tensors;
  try {
    for (Message model(bytes); model.next();) {
      if (model.field != 7 || !model.has_text) continue;
      for (Message graph(model.text); graph.next();) {
        if (graph.field != 5 || !graph.has_text) continue;
        if (auto tensor = external(graph.text)) tensors.push_back(*tensor);
      }
    }
  } catch (const std::out_of_range&) {
    return {};
  }
  return tensors;
}

std::string_view bytes_of(const ExternalTensor& tensor, const std::string& graph, const std::string& file,
                          std::string_view content) {
  const std::uint64_t rest = tensor.offset > content.size() ? 0 : content.size() - tensor.offset;
  const std::uint64_t length = tensor.length != 0 ? tensor.length : rest;
  if (tensor.offset > content.size() || length > rest)
    throw ArtifactError(graph + " places the tensor " + quote(tensor.name) + " at byte " +
                        std::to_string(tensor.offset) + " of " + file + ", which has " +
                        std::to_string(content.size()) + ". Export the model again.");
  const auto width = kWidths.find(tensor.dtype);
  if (width != kWidths.end()) {
    std::uint64_t left = length / width->second;
    bool right = length % width->second == 0;
    std::uint64_t expected = 1;
    for (const std::int64_t dim : tensor.dims) {
      right = right && dim >= 0 && !__builtin_mul_overflow(expected, static_cast<std::uint64_t>(dim), &expected);
    }
    if (!right || expected != left)
      throw ArtifactError(graph + " gives the tensor " + quote(tensor.name) + " " + std::to_string(length) +
                          " bytes; expected shape " + shape(tensor.dims) + ". Export the model again.");
  }
  return content.substr(tensor.offset, length);
}

}  // namespace poolfold
