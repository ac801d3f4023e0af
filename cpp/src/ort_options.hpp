// How poolfold runs ONNX Runtime: the settings of poolfold/sessions/ort.py, for the session and for what is measured
// against it.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <optional>

namespace poolfold {

// Of ONNX Runtime's own fusions, those whose CPU kernels take longer than the operators that they replace.
inline constexpr const char* kSlowerFusions = "BiasGeluFusion;MatmulTransposeFusion;SkipLayerNormFusion";

inline Ort::SessionOptions ort_options(std::optional<int> threads, bool spinning) {
  Ort::SessionOptions options;
  options.SetLogSeverityLevel(ORT_LOGGING_LEVEL_ERROR);
  options.SetIntraOpNumThreads(threads.value_or(0));
  options.AddConfigEntry("optimization.disable_specified_optimizers", kSlowerFusions);
  options.AddConfigEntry("session.intra_op.allow_spinning", spinning ? "1" : "0");
  // By default they spin on for some 40 ms after a run, and take the cores from the next session's run.
  options.AddConfigEntry("session.force_spinning_stop", "1");
  // One block for all that a run needs took a fifth more memory than piece by piece, and no less time.
  options.DisableMemPattern();
  return options;
}

}  // namespace poolfold
