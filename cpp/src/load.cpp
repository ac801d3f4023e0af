#include "poolfold/load.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "by_padding.hpp"
#include "checked_files.hpp"
#include "choice.hpp"
#include "engine_session.hpp"
#include "ort_session.hpp"
#include "poolfold/errors.hpp"
#include "quote.hpp"
#include "session.hpp"

namespace poolfold {
namespace {

using Opened = std::pair<std::unique_ptr<const Session>, std::string>;  // a session and its dtype

// The paths of what will be opened.
struct Needed {
  std::set<std::string> read;    // graphs and engines
  std::set<std::string> mapped;  // weights
};

// The file of a form that ONNX Runtime runs on a CPU.
std::string on_cpu(const Graph& graph, const std::string& path) {
  const auto sliced = graph.sliced.find(path);
  return sliced == graph.sliced.end() ? path : sliced->second;
}

Needed needed_by(const Graph& graph, const Manifest& manifest) {
  Needed needed{{on_cpu(graph, graph.prompted.value_or(graph.path))}, {}};
  if (graph.prompted)
    for (const FoldedPrompt& prompt : manifest.folded_prompts) needed.read.insert(prompt.path);
  else if (graph.padding_free)
    needed.read.insert(on_cpu(graph, graph.padding_free->path));
  if (graph.weights) needed.mapped.insert(*graph.weights);
  return needed;
}

// Opens what is needed, for a caller who has checked it.
OpenFiles unchecked(const std::string& directory, const Needed& needed) {
  OpenFiles files;
  for (const std::string& path : needed.mapped) files[path] = open_file(directory + "/" + path);
  for (const std::string& path : needed.read) (files[path] = open_file(directory + "/" + path))->hash(true);
  return files;
}

// Gives a checked file by its whole path.
FileSource checked(const std::string& directory, OpenFiles files) {
  return [directory, files = std::move(files)](const std::string& path) {
    const std::string start = directory + "/";
    const std::string relative = path.rfind(start, 0) == 0 ? path.substr(start.size()) : path;
    const auto file = files.find(relative);
    if (file == files.end())
      throw ArtifactError(directory + " has a graph whose weights lie in " + quote(relative) + ", and its " +
                          kManifestName + " names another file or none. Export the model again.");
    return file->second;
  };
}

// The folded prompts, for the prompted form of a graph. Throws ArtifactError: a file has another size than its shape.
std::vector<std::shared_ptr<const PromptStates>> folded_prompts(const std::string& directory, const Manifest& manifest,
                                                                const FileSource& files) {
  std::vector<std::shared_ptr<const PromptStates>> prompts;
  for (const FoldedPrompt& folded : manifest.folded_prompts) {
    const std::string path = directory + "/" + folded.path;
    const std::string_view content = files(path)->data();
    std::size_t values = folded.shape.size() == 4 ? 1 : 0;
    for (const std::int64_t size : folded.shape) values *= static_cast<std::size_t>(size);
    if (values == 0 || content.size() != values * sizeof(float) ||
        folded.shape[2] != static_cast<std::int64_t>(folded.ids.size()))
      throw ArtifactError(path + " has " + std::to_string(content.size()) + " bytes; expected float32 " +
                          shape(folded.shape) + ", and " + std::to_string(folded.ids.size()) +
                          " tokens. Export the model again.");
    PromptStates states{folded.ids, {}, std::vector<float>(values)};
    std::copy_n(folded.shape.begin(), 4, states.shape.begin());
    std::memcpy(states.values.data(), content.data(), content.size());
    prompts.push_back(std::make_shared<const PromptStates>(std::move(states)));
  }
  return prompts;
}

// Opens a graph: its prompted form, if it has one; else the form that serves every batch; else two, and each batch runs on
// the faster one.
Opened open_graph(const std::string& directory, const Graph& graph, const Options& options, const FileSource& files) {
  const auto open = [directory, files, graph, threads = options.threads, spinning = options.spinning,
                     run_memory = graph.run_memory.value_or(kUsualRunMemory)](const std::string& path) {
    return open_onnxruntime(directory + "/" + on_cpu(graph, path), threads, spinning, files, run_memory);
  };
  if (graph.prompted) return {open(*graph.prompted), graph.dtype};
  if (!graph.padding_free) return {open(graph.path), graph.dtype};
  const auto& always = graph.padding_free->serves_all;
  if (std::find(always.begin(), always.end(), options.target) != always.end())
    return {open(graph.padding_free->path), graph.dtype};
  auto plain = open(graph.path);
  const auto& measured = graph.padding_free->faster_below;
  const auto entry = measured.find(options.target);
  return {std::make_unique<ByPadding>(
              std::move(plain), [open, path = graph.padding_free->path] { return open(path); },
              entry == measured.end() ? kFasterBelow : entry->second),
          graph.dtype};
}

// Opens the engine of either form; if there are both, each batch runs on the faster one.
Opened open_engines(const std::string& directory, const Manifest& manifest, const std::vector<Engine>& engines,
                    int gpu, const FileSource& files) {
  const auto open = [directory, gpu, files](const Engine& engine) {
    const std::string path = directory + "/" + engine.path;
    return open_engine(*files(path), engine, "poolfold build " + directory + " --target " + engine.target, gpu);
  };
  const Engine *plain = nullptr, *packed = nullptr;
  for (const Engine& engine : engines) (engine.form == "packed" ? packed : plain) = &engine;
  if (plain == nullptr || packed == nullptr) return {open(engines.front()), engines.front().dtype};
  double below = kFasterBelow;
  for (const Graph& graph : manifest.graphs) {
    if (graph.path != plain->graph || !graph.padding_free) continue;
    const auto measured = graph.padding_free->faster_below.find(plain->target);
    if (measured != graph.padding_free->faster_below.end()) below = measured->second;
  }
  return {std::make_unique<ByPadding>(open(*plain), [open, engine = *packed] { return open(engine); }, below),
          plain->dtype};
}

}  // namespace

Encoder load(const std::filesystem::path& given, const Options& options) {
  check_options(options);
  const std::string directory = plain_path(given.native());
  const Manifest manifest = read_checked(directory);
  // Before the hashes: those of a large artifact take seconds.
  const Strategy& strategy = choose_strategy(directory, manifest, options);
  const Graph* graph = nullptr;
  std::vector<Engine> engines;
  Needed needed;
  if (options.target == "onnxruntime") {
    graph = &choose_graph(directory, manifest, strategy.name, options);
    needed = needed_by(*graph, manifest);
  } else {
    engines = choose_engines(directory, manifest, strategy.name, options);
    for (const Engine& engine : engines) needed.read.insert(engine.path);
  }
  if (!options.mmap) needed.read.merge(needed.mapped);
  const FileSource files = checked(directory, options.verify ? open_files(directory, manifest, needed.read, needed.mapped)
                                                             : unchecked(directory, needed));
  Opened opened = graph != nullptr ? open_graph(directory, *graph, options, files)
                                   : open_engines(directory, manifest, engines, options.gpu, files);
  const bool prompted = graph != nullptr && graph->prompted;
  const std::optional<RunMemory> run_memory =
      graph == nullptr ? std::nullopt : std::optional(graph->run_memory.value_or(kUsualRunMemory));
  return Encoder(std::move(opened.first), manifest.model, strategy.name, opened.second, options.target,
                 static_cast<std::size_t>(strategy.dim),
                 prompted ? folded_prompts(directory, manifest, files)
                          : std::vector<std::shared_ptr<const PromptStates>>{},
                 run_memory, options.memory);
}

}  // namespace poolfold
