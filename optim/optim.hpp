#pragma once

// Everything a LibTorch program needs of scalevec's optimizers.
#include "optim/core/decay.hpp"
#include "optim/core/param_role.hpp"
#include "optim/core/schedule.hpp"
#include "optim/core/traces.hpp"
#include "optim/methods.hpp"
#include "optim/named_param.hpp"
#include "optim/optimizer.hpp"
#include "optim/own_method.hpp"
#include "optim/role_policy.hpp"
#include "optim/roles_by_module.hpp"
#include "optim/step_hooks.hpp"
