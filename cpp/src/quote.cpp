#include "quote.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace poolfold {
namespace {

struct Character {
  std::uint32_t code;
  std::size_t bytes;
  bool valid;
};

// The character at `at`. A byte that is no UTF-8 becomes the lone surrogate that Python reads it as.
Character decode(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t lead = byte(at);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  const Character broken{0xDC00 + lead, 1, false};
  if (lead < 0xC2 || lead > 0xF4 || at + length > text.size()) return broken;
  std::uint32_t code = lead & (0xFFu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return broken;
    code = (code << 6) | (byte(at + i) & 0x3Fu);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  if (overlong || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return broken;
  return {code, length, true};
}

// Whether Python's repr leaves a character as it is: controls, formats, separators, surrogates and private use are
// escaped. Code points that Unicode has not assigned, which Python escapes too, are left.
bool prints(std::uint32_t code) {
  struct Span {
    std::uint32_t first, last;
  };
  static constexpr Span kHidden[] = {
      {0x00, 0x1F},       {0x7F, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},
      {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},     {0x1680, 0x1680},
      {0x180E, 0x180E},   {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},   {0x3000, 0x3000},
      {0xD800, 0xF8FF},   {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD},
      {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0001, 0xE0001}, {0xE0020, 0xE007F},
      {0xF0000, 0xFFFFD}, {0x100000, 0x10FFFD}};
  for (const Span& span : kHidden)
    if (code >= span.first && code <= span.last) return false;
  return true;
}

}  // namespace

std::string quote(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char mark = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string quoted(1, mark);
  for (std::size_t at = 0; at < text.size();) {
    const Character character = decode(text, at);
    char escape[16];
    if (character.code == static_cast<unsigned char>(mark) || character.code == '\\') {
      quoted += '\\';
      quoted += static_cast<char>(character.code);
    } else if (character.code == '\n') {
      quoted += "\\n";
    } else if (character.code == '\r') {
      quoted += "\\r";
    } else if (character.code == '\t') {
      quoted += "\\t";
    } else if (character.valid && prints(character.code)) {
      quoted += text.substr(at, character.bytes);
    } else {
      const char* form = character.code <= 0xFF ? "\\x%02x" : character.code <= 0xFFFF ? "\\u%04x" : "\\U%08x";
      std::snprintf(escape, sizeof escape, form, static_cast<unsigned>(character.code));
      quoted += escape;
    }
    at += character.bytes;
  }
  return quoted + mark;
}

std::string join(const std::vector<std::string>& items) {
  std::string joined;
  for (const std::string& item : items) joined += (joined.empty() ? "" : ", ") + item;
  return joined;
}

std::string shape(const std::vector<std::int64_t>& dims) {
  std::vector<std::string> items;
  for (const std::int64_t dim : dims) items.push_back(std::to_string(dim));
  return "[" + join(items) + "]";
}

std::string plain_path(std::string_view path) {
  std::string plain = path.substr(0, 1) == "/" ? "/" : "";
  // Two leading slashes, and no more, mean something of their own in POSIX.
  if (path.substr(0, 2) == "//" && path.substr(2, 1) != "/") plain = "//";
  const std::size_t root = plain.size();
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    if (!part.empty() && part != ".") {
      if (plain.size() > root) plain += '/';
      plain += part;
    }
    start = end + 1;
  }
  return plain.empty() ? "." : plain;
}

}  // namespace poolfold
