#include "engine_session.hpp"

#include <NvInferRuntime.h>

#include <mutex>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda.hpp"
#include "engine_context.hpp"
#include "engine_needs.hpp"
#include "poolfold/errors.hpp"
#include "quote.hpp"

namespace poolfold {
namespace {

using nvinfer1::OptProfileSelector;

std::string library_version() {
  return std::to_string(getInferLibMajorVersion()) + "." + std::to_string(getInferLibMinorVersion()) + "." +
         std::to_string(getInferLibPatchVersion()) + "." + std::to_string(getInferLibBuildVersion());
}

// One engine, and one context for each run that was ever concurrent. Contexts and their memory are reused.
class EngineSession : public Session {
 public:
  EngineSession(Engine engine, EngineFile file, std::string_view plan, int gpu) : description_(std::move(engine)), file_(std::move(file)), gpu_(gpu) {
    check_library(description_, file_, library_version());
    check_gpu(description_, file_, use_gpu(gpu_));
    runtime_.reset(nvinfer1::createInferRuntime(log_));
    if (!runtime_) throw TargetUnavailable(description_.library + " does not start: " + EngineLog::last() + ".");
    engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
    if (!engine_)
      throw ArtifactError(file_.path + " cannot be loaded by " + description_.library + " " + library_version() + ": " +
                          EngineLog::last() + ". Build the engine anew here: " + file_.rebuild);
    check_tensors();
    check_profiles();
    give_back(borrow());  // creates the first context now, so that `load` fails if there is no memory for it
  }

  Vectors run(const Batch& batch) const override {
    const auto profile = static_cast<int>(choose_profile(description_, file_, batch));
    succeed(cudaSetDevice(gpu_));
    auto context = borrow();
    Vectors vectors = context->run(batch, profile);
    give_back(std::move(context));  // not after an error: a context that failed is not reused
    return vectors;
  }

 private:
  using Context = std::unique_ptr<EngineContext>;

  bool packed() const { return description_.form == "packed"; }

  Context borrow() const {
    {
      const std::lock_guard<std::mutex> held(lock_);
      if (!free_.empty()) {
        Context context = std::move(free_.back());
        free_.pop_back();
        return context;
      }
    }
    return std::make_unique<EngineContext>(*engine_, file_.path, packed());
  }

  void give_back(Context context) const {
    const std::lock_guard<std::mutex> held(lock_);
    free_.push_back(std::move(context));
  }

  void check_tensors() const {
    std::set<std::string> inputs, outputs, expected{"input_ids", "attention_mask"};
    if (packed()) expected.insert("token_positions");
    bool right = true;
    for (int index = 0; index < engine_->getNbIOTensors(); ++index) {
      const char* name = engine_->getIOTensorName(index);
      const bool input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
      (input ? inputs : outputs).insert(name);
      right = right && engine_->getTensorDataType(name) == (input ? nvinfer1::DataType::kINT64 : nvinfer1::DataType::kFLOAT);
    }
    if (!right || inputs != expected || outputs != std::set<std::string>{kEngineOutput})
      throw ArtifactError(file_.path + " has inputs " + join({inputs.begin(), inputs.end()}) + " and outputs " +
                          join({outputs.begin(), outputs.end()}) + "; expected int64 " +
                          join({expected.begin(), expected.end()}) + " and fp32 " + kEngineOutput +
                          ". Build the engine anew: " + file_.rebuild);
  }

  // `choose_profile` reads the manifest's profiles, so they must equal the engine's.
  void check_profiles() const {
    bool right = engine_->getNbOptimizationProfiles() == static_cast<int>(description_.profiles.size());
    for (std::size_t index = 0; right && index < description_.profiles.size(); ++index) {
      const Profile& profile = description_.profiles[index];
      const auto shape_at = [&](OptProfileSelector end) {
        return engine_->getProfileShape("input_ids", static_cast<int>(index), end);
      };
      const nvinfer1::Dims least = shape_at(OptProfileSelector::kMIN), most = shape_at(OptProfileSelector::kMAX);
      right = least.nbDims == 2 && most.nbDims == 2 && least.d[0] == profile.batch.min &&
              least.d[1] == profile.seq_len.min && most.d[0] == profile.batch.max && most.d[1] == profile.seq_len.max;
    }
    if (!right)
      throw ArtifactError(file_.path + " has other optimisation profiles than its manifest says. Build the engine anew: " +
                          file_.rebuild);
  }

  // Destroyed in reverse order: contexts, engine, runtime, log.
  EngineLog log_;
  Engine description_;
  EngineFile file_;
  int gpu_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  mutable std::mutex lock_;
  mutable std::vector<Context> free_;
};

}  // namespace

std::unique_ptr<const Session> open_engine(OpenFile& file, const Engine& engine, const std::string& rebuild, int gpu) {
  if (engine.target != POOLFOLD_ENGINES)
    throw TargetUnavailable(file.path() + " was built for " + engine.target + ", and this build of poolfold runs engines of " +
                            POOLFOLD_ENGINES + ". Configure it with -DPOOLFOLD_ENGINES=" + engine.target +
                            ", or use target onnxruntime.");
  auto session = std::make_unique<EngineSession>(engine, EngineFile{file.path(), rebuild}, file.data(), gpu);
  file.require_unchanged();
  return session;
}

}  // namespace poolfold
