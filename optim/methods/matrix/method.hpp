#pragma once

// What the file of a matrix method includes.
#include <torch/types.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "optim/core/method_traits.hpp"
#include "optim/core/option_table.hpp"
#include "optim/matrix/orthogonalise.hpp"
#include "optim/matrix/products.hpp"
#include "optim/method.hpp"
#include "optim/parallel/parallel.hpp"
