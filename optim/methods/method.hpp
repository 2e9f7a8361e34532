#pragma once

// What the file of an elementwise method includes.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "optim/core/method_traits.hpp"
#include "optim/core/option_table.hpp"
