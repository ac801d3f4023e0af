// The settings with which poolfold runs ONNX Runtime, as in poolfold/sessions/ort.py. The benchmark uses them too.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "threads.hpp"

namespace poolfold {

// Fusions of ONNX Runtime whose CPU kernels take longer than the operators that they replace.
inline constexpr const char* kSlowerFusions = "BiasGeluFusion;MatmulTransposeFusion;SkipLayerNormFusion";

// Whether the CPU multiplies int8 by VNNI; false where the system does not say. Without it ONNX Runtime's products of int8
// overflow in 16 bits, and nothing tells, unless they are asked to be exact; with it they are, and asking makes them slower.
inline bool has_vnni() {
  static const bool has = [] {
    std::ifstream lines("/proc/cpuinfo");
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind("flags", 0) != 0) continue;
      std::istringstream flags(line);
      for (std::string flag; flags >> flag;)
        if (flag == "avx512_vnni" || flag == "avx_vnni") return true;
      return false;
    }
    return false;
  }();
  return has;
}

inline Ort::SessionOptions ort_options(std::optional<int> threads, bool spinning) {
  Ort::SessionOptions options;
  options.SetLogSeverityLevel(ORT_LOGGING_LEVEL_ERROR);
  options.SetIntraOpNumThreads(threads ? *threads : default_threads());
  options.AddConfigEntry("optimization.disable_specified_optimizers", kSlowerFusions);
  options.AddConfigEntry("session.x64quantprecision", has_vnni() ? "0" : "1");
  options.AddConfigEntry("session.intra_op.allow_spinning", spinning ? "1" : "0");
  // By default threads busy-wait for about 40 ms after a run, which slows the next run of another session.
  options.AddConfigEntry("session.force_spinning_stop", "1");
  // Measured: allocating the memory of a run as one block took a fifth more memory and no less time.
  options.DisableMemPattern();
  return options;
}

}  // namespace poolfold
