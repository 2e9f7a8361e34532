#pragma once

// Everything that needs no LibTorch: roles, schedules, decay, what methods are made of, forms of scale vectors, traces,
// random numbers.
#include "optim/core/decay.hpp"
#include "optim/core/instruction_set.hpp"
#include "optim/core/method_traits.hpp"
#include "optim/core/option_table.hpp"
#include "optim/core/param_role.hpp"
#include "optim/core/random.hpp"
#include "optim/core/scale_form.hpp"
#include "optim/core/schedule.hpp"
#include "optim/core/traces.hpp"
#include "optim/core/update_rules.hpp"
