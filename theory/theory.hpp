#pragma once

// Every result of the theory: closed forms and simulations.
#include "scalevec/theory/output_scale_decay.hpp"
#include "scalevec/theory/simulate/batch_optimizer.hpp"
#include "scalevec/theory/simulate/output_scale.hpp"
