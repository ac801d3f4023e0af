// All of poolfold's C++ API.
#pragma once

#include "poolfold/encoder.hpp"
#include "poolfold/errors.hpp"
#include "poolfold/load.hpp"
#include "poolfold/manifest.hpp"
#include "poolfold/verify.hpp"
