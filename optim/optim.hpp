#pragma once

// Everything a LibTorch program needs of scalevec's optimizers.
#include "scalevec/optim/core/decay.hpp"
#include "scalevec/optim/core/param_role.hpp"
#include "scalevec/optim/core/schedule.hpp"
#include "scalevec/optim/core/traces.hpp"
#include "scalevec/optim/methods.hpp"
#include "scalevec/optim/named_param.hpp"
#include "scalevec/optim/optimizer.hpp"
#include "scalevec/optim/own_method.hpp"
#include "scalevec/optim/role_policy.hpp"
#include "scalevec/optim/roles_by_module.hpp"
