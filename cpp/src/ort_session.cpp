#include "ort_session.hpp"

// The API is looked up explicitly, so that a library older than the headers gives an error message and not a crash.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <new>
#include <set>
#include <vector>

#include "batches.hpp"
#include "external_data.hpp"
#include "memory.hpp"
#include "ort_options.hpp"
#include "packing.hpp"
#include "poolfold/errors.hpp"
#include "quote.hpp"

namespace poolfold {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOutput = "sentence_embedding";
// Of a run: they are thrown.
constexpr int kLogNoErrors = ORT_LOGGING_LEVEL_FATAL;
// A run that takes so many bytes gives them back.
constexpr double kLarge = 1 << 28;

// ONNX Runtime's environment: one for the process. Throws TargetUnavailable.
Ort::Env& environment() {
  static Ort::Env env = [] {
    const OrtApi* api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (api == nullptr)
      throw TargetUnavailable(std::string("onnxruntime ") + OrtGetApiBase()->GetVersionString() +
                              " is older than the headers that poolfold was built with (API version " +
                              std::to_string(ORT_API_VERSION) + "). Install a newer libonnxruntime.");
    Ort::InitApi(api);
    // Before the first environment: onnxruntime 1.32 otherwise writes an id of the device into the home directory, and
    // looks up the name of a server that it sends events to. Who wants that sets the variable to 0.
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    return Ort::Env(ORT_LOGGING_LEVEL_ERROR, "poolfold");
  }();
  return env;
}

// The message that ONNX Runtime's Python package gives for an error.
std::string words(const Ort::Exception& error) {
  static constexpr std::array<const char*, 12> kNames = {
      "SUCCESS",       "FAIL",         "INVALID_ARGUMENT", "NO_SUCHFILE",     "NO_MODEL",      "ENGINE_ERROR",
      "RUNTIME_EXCEPTION", "INVALID_PROTOBUF", "MODEL_LOADED",   "NOT_IMPLEMENTED", "INVALID_GRAPH", "EP_FAIL"};
  const auto code = static_cast<std::size_t>(error.GetOrtErrorCode());
  return "[ONNXRuntimeError] : " + std::to_string(code) + " : " + (code < kNames.size() ? kNames[code] : "ERROR") +
         " : " + error.what();
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// The names as Python's sorted list of str.
std::string listed(const std::set<std::string>& names) {
  std::vector<std::string> quoted;
  for (const std::string& name : names) quoted.push_back(quote(name));
  return "[" + join(quoted) + "]";
}

class GraphSession : public Session {
 public:
  GraphSession(const std::string& path, std::optional<int> threads, bool spinning, const FileSource& files,
               const RunMemory& run_memory)
      : path_(path), run_memory_(run_memory), memory_(nullptr), session_(nullptr), keep_(nullptr), give_back_(nullptr) {
    Ort::Env& env = environment();
    keep_ = Ort::RunOptions();
    give_back_ = Ort::RunOptions();
    for (Ort::RunOptions* options : {&keep_, &give_back_}) options->SetRunLogSeverityLevel(kLogNoErrors);
    // ONNX Runtime otherwise keeps what a run took for the next one, which may not fit into it.
    give_back_.AddConfigEntry("memory.enable_memory_arena_shrinkage", "cpu:0");
    const auto graph = files(path);
    const auto tensors = external_tensors(graph->data());
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    for (const ExternalTensor& tensor : tensors) {
      auto& file = files_[tensor.location];
      if (!file) file = files(fs::path(folder + tensor.location).lexically_normal().string());
    }
    try {
      memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
      Ort::SessionOptions options = ort_options(threads, spinning);
      add_weights(options, tensors);
      const std::string_view content = graph->data();
      session_ = Ort::Session(env, content.data(), content.size(), options);
    } catch (const Ort::Exception& error) {
      if (const auto memory = out_of_memory(error.what(), path)) throw *memory;
      throw ArtifactError(path + " cannot be loaded by onnxruntime " + Ort::GetVersionString() + ": " + words(error) +
                          ". Upgrade onnxruntime, or export the model again.");
    }
    graph->require_unchanged();
    require_unchanged();
    for (const auto& [location, file] : files_) file->release();
    check_names();
  }

  ::OrtSession* handle() const { return const_cast<Ort::Session&>(session_); }

  Vectors run(const Batch& batch) const override {
    try {
      return run_once(batch, bytes_of(run_memory_, batch.batch, batch.seq) >= kLarge);
    } catch (const OutOfMemory&) {
      release_arena();
      throw;
    }
  }

 private:
  Vectors run_once(const Batch& batch, bool give_back) const {
    const std::array<std::int64_t, 2> dims{static_cast<std::int64_t>(batch.batch),
                                           static_cast<std::int64_t>(batch.seq)};
    std::vector<const char*> names{"input_ids", "attention_mask"};
    std::vector<std::int64_t> types, positions;
    const auto what = [&] { return path_ + " on input_ids " + shape({dims[0], dims[1]}); };
    // Before: reading behind the end of a file that was cut kills the process. After: no vector of other weights.
    require_unchanged();
    try {
      std::vector<Ort::Value> values;
      values.reserve(5);
      values.push_back(tensor(batch.input_ids, batch.size(), dims));
      values.push_back(tensor(batch.attention_mask, batch.size(), dims));
      if (takes_token_types_) {
        types.assign(batch.size(), 0);
        names.push_back("token_type_ids");
        values.push_back(tensor(types.data(), types.size(), dims));
      }
      if (takes_positions_) {
        positions = token_positions(batch);
        names.push_back("token_positions");
        values.push_back(tensor(positions.data(), positions.size(), {1, static_cast<std::int64_t>(positions.size())}));
      }
      if (takes_states_) {
        names.push_back("prompt_states");
        values.push_back(states(batch.prompt));
      }
      const auto given = session_run(names, values, give_back);
      require_unchanged();
      return copied(given.front());
    } catch (const std::bad_alloc& error) {
      throw *out_of_memory(error.what(), what());
    } catch (const Ort::Exception& error) {
      if (const auto memory = out_of_memory(error.what(), what())) throw *memory;
      throw ArtifactError(
          path_ + " cannot be run by onnxruntime on input_ids " + shape({dims[0], dims[1]}) + ": " +
          first_line(words(error)) +
          ". Upgrade onnxruntime, or take another model: its graph has parts that do not fit each other.");
    }
  }

  // What a failed run took, ONNX Runtime's arena keeps in pieces, which the next run may be too large for. It gives them
  // back when a run ends that says so: here, of one token.
  void release_arena() const {
    const std::int64_t id = 0, mask = 1;
    try {
      run_once({&id, &mask, 1, 1}, true);
    } catch (const std::exception&) {  // the error that is on its way says more
    }
  }

  // Gives the session its external weights where they lie in memory.
  void add_weights(Ort::SessionOptions& options, const std::vector<ExternalTensor>& tensors) {
    std::vector<std::string> names;
    for (const ExternalTensor& tensor : tensors) {
      OpenFile& file = *files_.at(tensor.location);
      const std::string_view bytes = bytes_of(tensor, path_, file.path(), file.data());
      // A tensor of ONNX Runtime is writable; a constant of a graph is not written to.
      weights_.push_back(Ort::Value::CreateTensor(memory_, const_cast<char*>(bytes.data()), bytes.size(),
                                                  tensor.dims.data(), tensor.dims.size(),
                                                  static_cast<ONNXTensorElementDataType>(tensor.dtype)));
      names.push_back(tensor.name);
    }
    if (names.empty()) return;
    options.AddExternalInitializers(names, weights_);
    // The session then uses the memory itself, and not a copy.
    for (std::size_t index = 0; index < names.size(); ++index)
      options.AddInitializer(names[index].c_str(), weights_[index]);
  }

  // Throws ArtifactError: a file whose mapping is used was written to.
  void require_unchanged() const {
    for (const auto& [location, file] : files_) file->require_unchanged();
  }

  // ONNX Runtime's API requires writable memory for inputs, but does not write to it.
  Ort::Value tensor(const std::int64_t* data, std::size_t count, const std::array<std::int64_t, 2>& dims) const {
    return Ort::Value::CreateTensor<std::int64_t>(memory_, const_cast<std::int64_t*>(data), count, dims.data(),
                                                  dims.size());
  }

  // The states of a prompt, or of none.
  Ort::Value states(const PromptStates* prompt) const {
    static float nothing = 0;
    float* data = prompt == nullptr ? &nothing : const_cast<float*>(prompt->values.data());
    const auto& dims = prompt == nullptr ? no_states_ : prompt->shape;
    return Ort::Value::CreateTensor<float>(memory_, data, prompt == nullptr ? 0 : prompt->values.size(), dims.data(),
                                           dims.size());
  }

  // Run does not change the session, though the C++ API does not declare it const.
  std::vector<Ort::Value> session_run(const std::vector<const char*>& names, const std::vector<Ort::Value>& values,
                                      bool give_back) const {
    auto& session = const_cast<Ort::Session&>(session_);
    return session.Run(give_back ? give_back_ : keep_, names.data(), values.data(), values.size(), &kOutput, 1);
  }

  Vectors copied(const Ort::Value& value) const {
    const auto info = value.GetTensorTypeAndShapeInfo();
    const auto dims = info.GetShape();
    if (info.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || dims.size() != 2)
      throw ArtifactError(path_ + " gave " + shape(dims) +
                          "; expected float32 [batch, dim], as its manifest says. Export the model again.");
    const float* data = value.GetTensorData<float>();
    return {{data, data + dims[0] * dims[1]}, static_cast<std::size_t>(dims[0]), static_cast<std::size_t>(dims[1])};
  }

  void check_names() {
    Ort::AllocatorWithDefaultOptions allocator;
    std::set<std::string> inputs, outputs;
    for (std::size_t i = 0; i < session_.GetInputCount(); ++i) {
      const std::string name = session_.GetInputNameAllocated(i, allocator).get();
      inputs.insert(name);
      if (name != "prompt_states") continue;
      const auto dims = session_.GetInputTypeInfo(i).GetTensorTypeAndShapeInfo().GetShape();
      takes_states_ = dims.size() == 4;
      if (takes_states_) no_states_ = {dims[0], dims[1], 0, dims[3]};
    }
    for (std::size_t i = 0; i < session_.GetOutputCount(); ++i)
      outputs.insert(session_.GetOutputNameAllocated(i, allocator).get());
    takes_token_types_ = inputs.count("token_type_ids") != 0;
    takes_positions_ = inputs.count("token_positions") != 0;
    const std::size_t expected_count = 2u + takes_token_types_ + takes_positions_ + takes_states_;
    if (inputs.count("input_ids") == 0 || inputs.count("attention_mask") == 0 || inputs.size() != expected_count ||
        outputs.count(kOutput) == 0)
      throw ArtifactError(path_ + " has inputs " + listed(inputs) + " and outputs " + listed(outputs) +
                          "; expected input_ids, attention_mask and perhaps token_type_ids and token_positions and "
                          "prompt_states, and " + kOutput + ". Export the model again.");
  }

  std::string path_;
  RunMemory run_memory_;
  // Destroyed in reverse order: the session uses the weights, which lie in the files.
  std::map<std::string, std::shared_ptr<OpenFile>> files_;  // by location
  Ort::MemoryInfo memory_;
  std::vector<Ort::Value> weights_;
  Ort::Session session_;
  Ort::RunOptions keep_, give_back_;
  bool takes_token_types_ = false;
  bool takes_positions_ = false;
  bool takes_states_ = false;
  std::array<std::int64_t, 4> no_states_{};
};

}  // namespace

std::unique_ptr<const Session> open_onnxruntime(const std::string& path, std::optional<int> threads, bool spinning,
                                                const FileSource& files, const RunMemory& run_memory) {
  return std::make_unique<GraphSession>(path, threads, spinning, files, run_memory);
}

::OrtSession* handle_of(const Session& session) { return dynamic_cast<const GraphSession&>(session).handle(); }

}  // namespace poolfold
