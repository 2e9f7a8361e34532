#pragma once

// What the file of an elementwise method includes.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "scalevec/optim/core/method_traits.hpp"
#include "scalevec/optim/core/option_table.hpp"
