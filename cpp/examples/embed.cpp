// Token ids to vectors: one JSON array of ids a line, from a file or stdin, into a .npy file.
//
// Exit codes are poolfold's: 0 done, 1 a check failed, 2 bad input or usage, 3 target not available here, 70 a bug.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <poolfold/poolfold.hpp>
#include <string>
#include <vector>

#include "npy.hpp"

namespace {

constexpr const char* kUsage =
    "usage: poolfold-embed DIR -o vectors.npy [-i ids.jsonl] [--strategy S] [--target T] [--dtype D] [--threads N]\n"
    "                      [--batch-size N]\n"
    "  ids.jsonl holds one JSON array of token ids a line, special tokens included; without -i it is read from stdin.\n"
    "  example: poolfold-embed artifacts/all-MiniLM-L6-v2 -i ids.jsonl -o vectors.npy";

struct Arguments {
  std::string directory, input = "-", output;
  std::size_t batch_size = 32;
  poolfold::Options options;
};

std::size_t whole_number(const std::string& flag, const std::string& text) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
    throw poolfold::InputError(flag + " is " + text + "; expected a whole number.");
  return std::stoul(text);
}

Arguments parse(const std::vector<std::string>& words) {
  Arguments arguments;
  for (std::size_t at = 0; at < words.size(); ++at) {
    const std::string& word = words[at];
    if (word.empty() || word[0] != '-') {
      if (!arguments.directory.empty()) throw poolfold::InputError(word + " is one argument too many.\n" + kUsage);
      arguments.directory = word;
      continue;
    }
    if (at + 1 == words.size()) throw poolfold::InputError(word + " has no value.\n" + kUsage);
    const std::string& value = words[++at];
    if (word == "-i") arguments.input = value;
    else if (word == "-o") arguments.output = value;
    else if (word == "--strategy") arguments.options.strategy = value;
    else if (word == "--target") arguments.options.target = value;
    else if (word == "--dtype") arguments.options.dtype = value;
    else if (word == "--threads") arguments.options.threads = static_cast<int>(whole_number(word, value));
    else if (word == "--batch-size") arguments.batch_size = whole_number(word, value);
    else throw poolfold::InputError("unknown flag " + word + ".\n" + kUsage);
  }
  if (arguments.directory.empty() || arguments.output.empty()) throw poolfold::InputError(kUsage);
  return arguments;
}

std::vector<std::vector<std::int64_t>> read_ids(std::istream& lines) {
  std::vector<std::vector<std::int64_t>> rows;
  std::string line;
  while (std::getline(lines, line)) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    bool right = json.is_array();
    for (const auto& id : json) right = right && id.is_number_integer();
    if (!right)
      throw poolfold::InputError("line " + std::to_string(rows.size() + 1) +
                                 " of the input is no JSON array of whole numbers; expected one a line, such as "
                                 "[101, 7592, 102].");
    rows.push_back(json.get<std::vector<std::int64_t>>());
  }
  return rows;
}

// Written beside its place first: an error leaves no half file.
void write(const std::string& path, const poolfold::Vectors& vectors) {
  const std::string partial = path + ".part";
  std::ofstream file(partial, std::ios::binary);
  write_npy(file, vectors);
  file.close();
  if (!file || std::rename(partial.c_str(), path.c_str()) != 0) {
    std::remove(partial.c_str());
    throw poolfold::InputError(path + " cannot be written. Check the folder and its permissions.");
  }
}

void embed(const Arguments& arguments) {
  std::ifstream file;
  if (arguments.input != "-") {
    file.open(arguments.input);
    if (!file) throw poolfold::InputError(arguments.input + " cannot be read. Check the path.");
  }
  const auto ids = read_ids(arguments.input == "-" ? std::cin : file);
  const poolfold::Encoder encoder = poolfold::load(arguments.directory, arguments.options);
  write(arguments.output, encoder.embed(ids, arguments.batch_size));
}

}  // namespace

int main(int count, char** words) {
  try {
    embed(parse({words + 1, words + count}));
    return 0;
  } catch (const poolfold::Error& error) {
    std::cerr << "error: " << error.what() << '\n';
    return error.exit_code();
  } catch (const std::exception& error) {
    std::cerr << "bug: " << error.what() << '\n';
    return 70;
  }
}
