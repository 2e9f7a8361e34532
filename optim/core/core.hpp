#pragma once

// Everything that needs no LibTorch: roles, schedules, decay, what methods are made of, traces, random numbers.
#include "scalevec/optim/core/decay.hpp"
#include "scalevec/optim/core/instruction_set.hpp"
#include "scalevec/optim/core/method_traits.hpp"
#include "scalevec/optim/core/option_table.hpp"
#include "scalevec/optim/core/param_role.hpp"
#include "scalevec/optim/core/random.hpp"
#include "scalevec/optim/core/schedule.hpp"
#include "scalevec/optim/core/traces.hpp"
#include "scalevec/optim/core/update_rules.hpp"
