#include "poolfold/manifest.hpp"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include "poolfold/errors.hpp"
#include "no_artifact.hpp"
#include "quote.hpp"
#include "record.hpp"
#include "sha256.hpp"

namespace poolfold {
namespace {

constexpr std::size_t kDigits = 64;
constexpr int kDeepest = 64;
constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;
constexpr std::int64_t kMostDim = std::int64_t{1} << 20;

void read(const Value& value, Range& range) {
  read_object(value, {{"min", into(range.min)}, {"opt", into(range.opt)}, {"max", into(range.max)}});
}

void read(const Value& value, Profile& profile) {
  read_object(value, {{"batch", record<Range>(profile.batch, read)},
                      {"seq_len", record<Range>(profile.seq_len, read)},
                      {"share", an_optional_number, false}});
}

void read(const Value& value, Text& text) {
  read_object(value, {{"max_seq_length", into(text.max_seq_length)},
                      {"padding_side", into(text.padding_side)},
                      {"truncation_side", a_string},
                      {"pad_token_id", into(text.pad_token_id)},
                      {"lower_case", a_bool},
                      {"prompts", strings_by_name},
                      {"default_prompt_name", an_optional_string},
                      {"include_prompt", into(text.include_prompt), false}});
}

void read_tokenizer_example(const Value& value) {
  if (value.json.is_null()) return;
  read_object(value, {{"text", a_string}, {"file", ints}, {"transformers", ints}}, true);
}

void read_tokenizer(const Value& value) {
  if (value.json.is_null()) return;
  read_object(value, {{"source", a_string}, {"texts", an_int}, {"differ", an_int}, {"example", read_tokenizer_example}},
              true);
}

void read(const Value& value, Model& model) {
  read_object(value, {{"source", into(model.source)},
                      {"revision", an_optional_string},
                      {"model_type", into(model.model_type)},
                      {"hidden_size", an_int},
                      {"num_layers", an_int},
                      {"vocab_size", into(model.vocab_size)},
                      {"trained_strategy", an_optional_string},
                      {"modules", strings},
                      {"dimensions", an_optional_int},
                      {"similarity", into(model.similarity)},
                      {"text", record<Text>(model.text, read)},
                      {"renormalized", a_bool, false},
                      {"source_sha256", an_optional_string, false},
                      {"tokenizer", read_tokenizer, false},  // 0.2 has none
                      {"matryoshka_dimensions", ints, false}});
}

void read(const Value& value, Strategy& strategy) {
  read_object(value, {{"name", into(strategy.name)},
                      {"trained", into(strategy.trained)},
                      {"dim", into(strategy.dim)},
                      {"ranges", into(strategy.ranges), false}});
}

void read_padding_free(const Value& value, std::optional<PaddingFree>& target) {
  if (value.json.is_null()) return;
  PaddingFree free;
  read_object(value,
              {{"path", into(free.path)},
               {"nodes", an_int},
               {"faster_below", into(free.faster_below)},
               {"serves_all", into(free.serves_all), false},
               {"status", a_string, false}},
              true);
  target = free;
}

void read_prompted(const Value& value, std::optional<std::string>& target) {
  if (value.json.is_null()) return;
  read_object(value, {{"path", into(target)}, {"nodes", an_int}, {"status", a_string, false}}, true);
}

void read_run_memory(const Value& value, std::optional<RunMemory>& target) {
  if (value.json.is_null()) return;
  RunMemory memory;
  read_object(value,
              {{"token_bytes", into(memory.token_bytes)},
               {"score_bytes", into(memory.score_bytes)},
               {"mask_bytes", into(memory.mask_bytes)},
               {"whole_up_to", into(memory.whole_up_to), false},
               {"slice", into(memory.slice), false}},
              true);
  target = memory;
}

void read_kept_layers(const Value& value) {
  if (value.json.is_null()) return;
  read_object(value, {{"layers", a_string}, {"share", a_number}, {"cosine", a_number}}, true);
}

void read_quantized(const Value& value, std::optional<std::string>& made_for) {
  if (value.json.is_null()) return;
  std::string target;
  read_object(value,
              {{"target", into(target)},
               {"floor", a_number},
               {"texts", an_int},
               {"layers", an_int},
               {"kept", read_kept_layers},
               {"cosine", a_number},
               {"without", a_number}},
              true);
  made_for = target;
}

void read_precision(const Value& value) {
  read_object(value, {{"rule", a_string}, {"nodes", an_int}, {"why", a_string}});
}

void read_contents(const Value& value) {
  if (value.json.is_null()) return;
  read_object(value, {{"layers", an_int}, {"precisions", ints_by_name}, {"fp32_kept", an_int}, {"device_memory", ints}},
              true);
}

void read(const Value& value, Graph& graph) {
  read_object(value, {{"path", into(graph.path)},
                      {"weights", into(graph.weights)},
                      {"strategy", into(graph.strategy)},
                      {"dtype", into(graph.dtype)},
                      {"inputs", strings},
                      {"output", a_string},
                      {"opset", an_int},
                      {"nodes", an_int},
                      {"attention_layers", an_int},
                      {"attention_ops", an_int},
                      {"kept_fp32", [](const Value& items) { each(items, read_precision); }},
                      {"padding_free", record<std::optional<PaddingFree>>(graph.padding_free, read_padding_free)},
                      {"packed", into(graph.packed)},
                      {"passes", strings_by_name},
                      {"status", a_string},
                      {"prompted", [&](const Value& form) { read_prompted(form, graph.prompted); }, false},
                      {"sliced", into(graph.sliced), false},
                      {"run_memory", record<std::optional<RunMemory>>(graph.run_memory, read_run_memory), false},
                      {"quantized", [&](const Value& how) { read_quantized(how, graph.made_for); }, false}});
}

void read(const Value& value, FoldedPrompt& prompt) {
  read_object(value, {{"name", a_string},
                      {"text", a_string},
                      {"ids", into(prompt.ids)},
                      {"path", into(prompt.path)},
                      {"shape", into(prompt.shape)}});
}

void read(const Value& value, Engine& engine) {
  read_object(value, {{"path", into(engine.path)},
                      {"target", into(engine.target)},
                      {"strategy", into(engine.strategy)},
                      {"dtype", into(engine.dtype)},
                      {"status", a_string},
                      {"graph", into(engine.graph)},
                      {"form", into(engine.form)},
                      {"library", into(engine.library)},
                      {"library_version", into(engine.library_version)},
                      {"compute_capabilities", into(engine.compute_capabilities)},
                      {"version_compatible", into(engine.version_compatible)},
                      {"hardware_compatibility", into(engine.hardware_compatibility)},
                      {"stripped", into(engine.stripped)},
                      {"profiles", records<Profile>(engine.profiles, read)},
                      {"contents", read_contents},
                      {"attention_layers", an_int},
                      {"attention_fused", an_int},
                      {"build_seconds", a_number},
                      {"warnings", strings}});
}

void read(const Value& value, File& file) {
  read_object(value, {{"path", into(file.path)}, {"bytes", into(file.bytes)}, {"sha256", into(file.sha256)}});
}

// Rows of reports: checked as Python checks them, and not kept, since no loader needs them.
void read_executor(const Value& value) {
  read_object(value, {{"target", a_string}, {"device", a_string}, {"form", a_string, false}, {"rehearsed", a_bool, false}});
}

void read_check(const Value& value) {
  read_object(value, {{"value", a_number}, {"limit", an_optional_number}, {"passed", a_bool}});
}

void read_worst_text(const Value& value) { read_object(value, {{"text", a_string}, {"cosine", a_number}}); }

void read_parity(const Value& value) {
  read_object(value, {{"strategy", a_string},
                      {"dtype", a_string},
                      {"executor", a_string},
                      {"ran_on", read_executor, false},  // 0.1.0 has none
                      {"reference", a_string},
                      {"passed", a_bool},
                      {"texts", an_int},
                      {"checks", [](const Value& items) { each_by_name(items, read_check); }},
                      {"worst", [](const Value& items) { each(items, read_worst_text); }}});
}

void read_latency(const Value& value) {
  read_object(value, {{"strategy", a_string},
                      {"dtype", a_string},
                      {"runtime", a_string},
                      {"workload", a_string},
                      {"threads", an_int},
                      {"median_ms", a_number},
                      {"q1_ms", a_number},
                      {"q3_ms", a_number},
                      {"speedup", a_number},
                      {"sentences_per_s", a_number},
                      {"tokens_per_s", a_number},
                      {"increase_mib", an_optional_number},
                      {"disturbed", a_bool, false}});
}

void read_portable(const Value& value, std::optional<Portable>& target) {
  if (value.json.is_null()) return;
  Portable portable;
  read_object(value,
              {{"path", into(portable.path)},
               {"weights", into(portable.weights)},
               {"strategy", a_string},
               {"opset", an_int},
               {"nodes", an_int},
               {"status", a_string, false}},
              true);
  target = portable;
}

void read(const Value& value, Manifest& manifest) {
  read_object(value, {{"schema_version", into(manifest.schema_version)},
                      {"poolfold_version", into(manifest.poolfold_version)},
                      {"created", a_string},
                      {"command", strings},
                      {"model", record<Model>(manifest.model, read)},
                      {"strategies", records<Strategy>(manifest.strategies, read)},
                      {"graphs", records<Graph>(manifest.graphs, read)},
                      {"engines", records<Engine>(manifest.engines, read)},
                      {"files", records<File>(manifest.files, read)},
                      {"parity", [](const Value& items) { each(items, read_parity); }},
                      {"latency", [](const Value& items) { each(items, read_latency); }},
                      {"environment", any_object},
                      {"latency_left_out", strings_by_name, false},
                      {"folded_prompts", records<FoldedPrompt>(manifest.folded_prompts, read), false},
                      {"validated_up_to", an_optional_int, false},  // 0.4 has none
                      {"portable", record<std::optional<Portable>>(manifest.portable, read_portable), false}});
}

// The offset of the seal's 64 digits, or npos. The seal must be the file's first key.
std::size_t find_seal(std::string_view data) {
  if (data.substr(0, 1) != "{") return std::string_view::npos;  // no white space before it
  std::size_t at = 1;
  for (const std::string_view part : {std::string_view("\"manifest_sha256\":"), std::string_view("\"")}) {
    at = std::min(data.find_first_not_of(" \t\n\r\f\v", at), data.size());
    if (data.substr(at, part.size()) != part) return std::string_view::npos;
    at += part.size();
  }
  const bool digits = data.find_first_not_of("0123456789abcdef", at) == at + kDigits;
  return digits && data[at + kDigits] == '"' ? at : std::string_view::npos;
}

[[noreturn]] void refuse(const std::string& message) { throw ArtifactError(message); }

[[noreturn]] void refuse_malformed(const std::string& where, const std::string& what) {
  refuse(where + " is malformed: " + what + ". Export the model again.");
}

[[noreturn]] void refuse_too_deep(const std::string& where) {
  refuse_malformed(where, "it is nested more than " + std::to_string(kDeepest) + " levels deep");
}

// Refuses integers of more than 64 bits and values nested too deep.
void check_values(const std::string& where, const Json& fields) {
  std::vector<const Json*> level{&fields};
  for (int depth = 0; depth < kDeepest; ++depth) {
    std::vector<const Json*> below;
    for (const Json* value : level) {
      if (value->is_number_unsigned() &&
          value->get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
        refuse_malformed(where, "it holds an integer of more than 64 bits");
      if (value->is_structured())
        for (const Json& item : *value) below.push_back(&item);
    }
    if (below.empty()) return;
    level = std::move(below);
  }
  refuse_too_deep(where);
}

// Refuses sizes that no model has, before memory is allocated by them.
void check_sizes(const std::string& where, const Manifest& manifest) {
  const auto require = [&](const std::string& name, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most)
      refuse_malformed(where, name + " is " + std::to_string(value) + "; expected " + std::to_string(least) + " to " +
                                  std::to_string(most));
  };
  require("model.vocab_size", manifest.model.vocab_size, 1, kMost);
  require("model.text.max_seq_length", manifest.model.text.max_seq_length, 1, kMost);
  require("model.text.pad_token_id", manifest.model.text.pad_token_id, 0, manifest.model.vocab_size - 1);
  for (std::size_t i = 0; i < manifest.strategies.size(); ++i)
    require("strategies[" + std::to_string(i) + "].dim", manifest.strategies[i].dim, 1, kMostDim);
  for (std::size_t i = 0; i < manifest.graphs.size(); ++i) {
    const RunMemory memory = manifest.graphs[i].run_memory.value_or(kUsualRunMemory);
    const std::string at = "graphs[" + std::to_string(i) + "].run_memory.";
    require(at + "token_bytes", memory.token_bytes, 0, kMost);
    require(at + "score_bytes", memory.score_bytes, 0, kMost);
    require(at + "mask_bytes", memory.mask_bytes, 0, kMost);
    require(at + "whole_up_to", memory.whole_up_to, 0, kMost);
    require(at + "slice", memory.slice, 0, kMost);
  }
  for (std::size_t i = 0; i < manifest.engines.size(); ++i)
    for (std::size_t j = 0; j < manifest.engines[i].profiles.size(); ++j) {
      const Profile& profile = manifest.engines[i].profiles[j];
      const std::string at = "engines[" + std::to_string(i) + "].profiles[" + std::to_string(j) + "].";
      for (const auto& [name, span] : {std::pair{"batch", profile.batch}, std::pair{"seq_len", profile.seq_len}}) {
        require(at + name + ".min", span.min, 1, kMost);
        require(at + name + ".opt", span.opt, span.min, kMost);
        require(at + name + ".max", span.max, span.opt, kMost);
      }
    }
}

}  // namespace

Manifest parse_manifest(std::string_view data, const std::string& where) {
  Json fields;
  // The library copies what it has read when an object grows, by recursion: what is nested too deep would end the stack.
  const auto shallow = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepest) refuse_too_deep(where);
    return true;
  };
  // The parser's reason is left out, so that the message is the same in every language.
  const std::string no_json = where + " is not JSON. Export the model again.";
  if (!Json::accept(data.begin(), data.end())) refuse(no_json);
  try {
    fields = Json::parse(data.begin(), data.end(), shallow);
  } catch (const Json::exception&) {
    refuse(no_json);
  }
  check_values(where, fields);
  const Json none;
  const Json& version = fields.is_object() && fields.contains("schema_version") ? fields["schema_version"] : none;
  const bool counted = version.is_number_integer();
  // Before the seal: a later schema version may seal the manifest in another way.
  if (counted && (version.is_number_unsigned() ? version.get<std::uint64_t>() > std::uint64_t{kSchemaVersion}
                                               : version.get<std::int64_t>() > kSchemaVersion))
    refuse(where + " has schema version " + version.dump() + "; this poolfold reads up to version " +
           std::to_string(kSchemaVersion) + ". Upgrade poolfold, or export the model again with this one.");
  const std::size_t seal = find_seal(data);
  if (version.is_null() || seal == std::string_view::npos)
    refuse(where + " is not a poolfold manifest: it lacks manifest_sha256 or schema_version.");
  const std::string unsealed(kDigits, '0');
  if (sha256({data.substr(0, seal), unsealed, data.substr(seal + kDigits)}) != data.substr(seal, kDigits))
    refuse(where + " was changed after it was written: its SHA-256 differs. Export the model again.");
  fields.erase("manifest_sha256");
  Manifest manifest;
  try {
    read({fields, "$"}, manifest);
  } catch (const Malformed& error) {
    refuse_malformed(where, error.what());
  }
  if (manifest.schema_version != kSchemaVersion)
    refuse(where + " has schema version " + std::to_string(manifest.schema_version) +
           "; this poolfold reads version " + std::to_string(kSchemaVersion) + ".");
  check_sizes(where, manifest);
  return manifest;
}

Manifest read_manifest(const std::filesystem::path& directory) {
  const std::string folder = plain_path(directory.native());
  const std::string path = plain_path(folder + "/" + kManifestName);
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const int code = errno;
    if (code == ENOENT || code == ENOTDIR) throw no_artifact(folder);
    throw std::system_error(code, std::generic_category());
  }
  const std::string data{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) throw std::system_error(EIO, std::generic_category());
  return parse_manifest(data, path);
}

}  // namespace poolfold
