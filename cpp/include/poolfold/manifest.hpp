// The manifest: what a loader needs of an artifact. poolfold/manifest/ documents the fields.
//
// Keys that a loader does not need (parity, latency, environment, passes) are checked for their types and not stored.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace poolfold {

inline constexpr std::int64_t kSchemaVersion = 1;
inline constexpr const char* kManifestName = "manifest.json";

// How ids are padded and limited; `padding_side` is "left" or "right". Without `include_prompt` a mask is 2 on the
// prompt's tokens, which the pooling leaves out.
struct Text {
  std::int64_t max_seq_length = 0;
  std::string padding_side;
  std::int64_t pad_token_id = 0;
  bool include_prompt = true;
};

struct Model {
  std::string source;
  std::string model_type;
  std::int64_t vocab_size = 0;
  std::string similarity;
  Text text;
};

struct Strategy {
  std::string name;
  bool trained = false;
  std::int64_t dim = 0;
  std::optional<std::string> ranges;
};

// The form of a graph that computes real tokens only. `faster_below`: target -> share of real tokens. `serves_all`:
// targets on which it runs every batch.
struct PaddingFree {
  std::string path;
  std::map<std::string, double> faster_below;
  std::vector<std::string> serves_all;
};

// The graph that other programs load. Nothing here runs it; its files are part of the artifact.
struct Portable {
  std::string path;
  std::optional<std::string> weights;
};

// What a run of a graph takes besides the weights, in bytes: of each token, and of each pair of a query and a key, for the
// scores of all heads of a layer and for masks. Beyond `whole_up_to` tokens, `slice` queries are computed at once; where
// it is 0, all of them are.
struct RunMemory {
  std::int64_t token_bytes = 0;
  std::int64_t score_bytes = 0;
  std::int64_t mask_bytes = 0;
  std::int64_t whole_up_to = 0;
  std::int64_t slice = 0;
};

// Of artifacts before 0.6, which do not tell: more than a model with 1024 hidden values and 16 heads takes.
inline constexpr RunMemory kUsualRunMemory{1 << 17, 1 << 7, 1 << 4};

struct Graph {
  std::string path;
  std::optional<std::string> weights;
  std::string strategy;
  std::string dtype;
  std::optional<PaddingFree> padding_free;
  std::optional<std::string> packed;
  std::optional<std::string> prompted;  // its path
  std::map<std::string, std::string> sliced;  // path of a form -> what ONNX Runtime runs on a CPU instead
  std::optional<RunMemory> run_memory;
  std::optional<std::string> made_for;  // the only target that runs it, of a graph in int8
};

// A prompt whose keys and values are the file `path`: float32 [2 * attentions, heads, tokens, head], for the prompted
// form of a graph.
struct FoldedPrompt {
  std::vector<std::int64_t> ids;
  std::string path;
  std::vector<std::int64_t> shape;
};

struct Range {
  std::int64_t min = 0;
  std::int64_t opt = 0;
  std::int64_t max = 0;
};

struct Profile {
  Range batch;
  Range seq_len;
};

struct Engine {
  std::string path;
  std::string target;
  std::string strategy;
  std::string dtype;
  std::string graph;
  std::string form;
  std::string library;
  std::string library_version;
  std::vector<std::string> compute_capabilities;
  bool version_compatible = false;
  std::string hardware_compatibility;
  bool stripped = false;
  std::vector<Profile> profiles;
};

// A file of the artifact; `path` is relative, with forward slashes.
struct File {
  std::string path;
  std::int64_t bytes = 0;
  std::string sha256;
};

struct Manifest {
  std::int64_t schema_version = 0;
  std::string poolfold_version;
  Model model;
  std::vector<Strategy> strategies;
  std::vector<Graph> graphs;
  std::vector<Engine> engines;
  std::vector<File> files;
  std::vector<FoldedPrompt> folded_prompts;
  std::optional<Portable> portable;
};

// Reads the bytes of a manifest; `where` is their name in messages.
// Throws ArtifactError: they are not a manifest, have another schema version, were changed since written, or malformed.
Manifest parse_manifest(std::string_view data, const std::string& where = kManifestName);

// Reads DIR/manifest.json.
// Throws ArtifactError: as parse_manifest, or there is no such file.
Manifest read_manifest(const std::filesystem::path& directory);

}  // namespace poolfold
