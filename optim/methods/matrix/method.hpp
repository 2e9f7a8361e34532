#pragma once

// What the file of a matrix method includes.
#include <torch/types.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "scalevec/optim/core/method_traits.hpp"
#include "scalevec/optim/core/option_table.hpp"
#include "scalevec/optim/matrix/orthogonalise.hpp"
#include "scalevec/optim/matrix/products.hpp"
#include "scalevec/optim/method.hpp"
#include "scalevec/optim/parallel/parallel.hpp"
